//! The upgrade of a file of the first format, in one transaction: a crash leaves it as it was.
//!
//! In the first format each shard of due times held every kind of item, an out log was named by the stage whose proofs it
//! held, a sink had one cursor for all logs, and a chain's item did not say from which height on blocks are opened with the
//! pipeline in force.

use std::error::Error;

use proofyard_core::Pipeline;
use proofyard_core::pipeline::parse;
use proofyard_core::port::Key;
use proofyard_core::state::COMMITS;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::Value;

/// Answers the first error: of the file, or an item that cannot be read.
pub(super) fn from_first_format(connection: &mut Connection, format: i32) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    let chains: Vec<String> = transaction
        .prepare("SELECT sort FROM items WHERE partition = 'Y'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for chain in chains {
        upgrade_chain(&transaction, &chain)?;
    }
    sort_due_times(&transaction)?;
    transaction.pragma_update(None, "user_version", format)?;
    transaction.commit()
}

fn upgrade_chain(transaction: &Transaction<'_>, chain: &str) -> Result<(), rusqlite::Error> {
    let partition = format!("C#{chain}");
    let (Some(state), Some(frontier)) =
        (item(transaction, &partition, "chain")?, item(transaction, &partition, "frontier")?)
    else {
        return Ok(());
    };
    let hash = state["pipeline"].as_str().unwrap_or_default();
    let text = item(transaction, &partition, &format!("pipe#{hash}"))?;
    let text = text.as_ref().and_then(|text| text["text"].as_str()).unwrap_or_default();
    let pipeline = parse(text)
        .map_err(|_| {
            unreadable(
                format!("the pipeline of chain {chain} is not one of today; end it with the older program")
                    .into(),
            )
        })?
        .pipeline;
    transaction.execute(
        "UPDATE items SET value = CAST(json_set(CAST(value AS TEXT), '$.pipeline_from', ?3) AS BLOB)
         WHERE partition = ?1 AND sort = ?2",
        params![partition, "chain", frontier["opened"].as_u64().unwrap_or_default() as i64],
    )?;
    rename_logs(transaction, chain, &pipeline)?;
    place_sinks(transaction, &partition, &pipeline)
}

fn rename_logs(
    transaction: &Transaction<'_>,
    chain: &str,
    pipeline: &Pipeline,
) -> Result<(), rusqlite::Error> {
    let ends = pipeline.cut_stages().map(|(cut, ..)| cut).filter(|cut| pipeline.commit_cut() != Some(*cut));
    let ends = ends.map(|cut| pipeline.final_stage_of_cut(cut));
    let logs: Vec<(&str, &str)> = std::iter::once((pipeline.commit, COMMITS))
        .chain(ends.map(|end| (end, pipeline.log_of(end))))
        .map(|(stage, log)| (pipeline.stages[stage].name.as_str(), log))
        .collect();
    // In two steps, over names that no log has, since a log's new name may be another one's old name.
    for (name, log) in &logs {
        transaction.execute(
            "UPDATE items SET partition = ?2,
                 value = CAST(json_remove(json_set(CAST(value AS TEXT), '$.log', ?3), '$.stage') AS BLOB)
             WHERE partition = ?1",
            params![format!("O#{chain}#{name}"), format!("O#{chain}##{log}"), log],
        )?;
    }
    for (_, log) in &logs {
        transaction.execute(
            "UPDATE items SET partition = ?2 WHERE partition = ?1",
            params![format!("O#{chain}##{log}"), format!("O#{chain}#{log}")],
        )?;
    }
    Ok(())
}

fn place_sinks(
    transaction: &Transaction<'_>,
    partition: &str,
    pipeline: &Pipeline,
) -> Result<(), rusqlite::Error> {
    for (name, sink) in &pipeline.sinks {
        let (log, sort) = (pipeline.log_of(sink.stage), format!("sink#{name}"));
        transaction.execute(
            "UPDATE items SET sort = ?3, value = CAST(json_set(CAST(value AS TEXT), '$.log', ?4) AS BLOB)
             WHERE partition = ?1 AND sort = ?2",
            params![partition, sort, format!("{sort}#{log}"), log],
        )?;
    }
    // Sinks that are no longer in the pipeline.
    transaction.execute(
        "DELETE FROM items WHERE partition = ?1 AND sort GLOB 'sink#*' AND sort NOT GLOB 'sink#*#*'",
        params![partition],
    )?;
    Ok(())
}

/// Puts each due time into the shard that it has now.
fn sort_due_times(transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    let mut due = transaction.prepare("SELECT partition, sort FROM items WHERE due_ms IS NOT NULL")?;
    let keys = due.query_map([], |row| Ok(Key { partition: row.get(0)?, sort: row.get(1)? }))?;
    let keys: Vec<Key> = keys.collect::<Result<_, _>>()?;
    let mut sorted =
        transaction.prepare("UPDATE items SET due_shard = ?3 WHERE partition = ?1 AND sort = ?2")?;
    for key in &keys {
        sorted.execute(params![key.partition, key.sort, key.due_shard()])?;
    }
    Ok(())
}

fn item(
    transaction: &Transaction<'_>,
    partition: &str,
    sort: &str,
) -> Result<Option<Value>, rusqlite::Error> {
    let query = "SELECT value FROM items WHERE partition = ?1 AND sort = ?2";
    let value: Option<Vec<u8>> =
        transaction.query_row(query, params![partition, sort], |row| row.get(0)).optional()?;
    value.map(|value| serde_json::from_slice(&value).map_err(|error| unreadable(Box::new(error)))).transpose()
}

fn unreadable(error: Box<dyn Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, error)
}
