//! Which kind of item a key is of, and how such keys are written: told here, and nowhere else.
//!
//! A key's partition begins with the letter of its table; what is in one table lies together, by what it is about. Items of
//! different kinds in one partition are told apart by how their sort keys begin. The table of ARCHITECTURE.md says what each
//! item holds.

use std::fmt::Display;

use crate::port::{Key, Range};

/// The first letter of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The whole yard.
    Yard,
    Chain,
    /// Which blocks are at a height.
    Height,
    /// Where cuts start.
    Cut,
    Scope,
    Task,
    Marker,
    /// What workers of a pool look for.
    Pool,
    Worker,
    Judgement,
    OutLog,
    /// What level sinks were told about blocks.
    Told,
    /// What accounts of other chains have sent.
    Account,
    /// What only one kind of home has.
    Home,
}

impl Table {
    const ALL: [Self; 14] = [
        Self::Yard,
        Self::Chain,
        Self::Height,
        Self::Cut,
        Self::Scope,
        Self::Task,
        Self::Marker,
        Self::Pool,
        Self::Worker,
        Self::Judgement,
        Self::OutLog,
        Self::Told,
        Self::Account,
        Self::Home,
    ];

    /// `None` for a key that no yard writes.
    pub fn of(key: &Key) -> Option<Self> {
        let letter = key.partition.split('#').next()?;
        Self::ALL.into_iter().find(|table| table.letter() == letter)
    }

    pub fn letter(self) -> &'static str {
        match self {
            Self::Yard => "Y",
            Self::Chain => "C",
            Self::Height => "H",
            Self::Cut => "K",
            Self::Scope => "S",
            Self::Task => "T",
            Self::Marker => "M",
            Self::Pool => "R",
            Self::Worker => "W",
            Self::Judgement => "V",
            Self::OutLog => "O",
            Self::Told => "N",
            Self::Account => "A",
            Self::Home => "L",
        }
    }
}

/// The kind of item that lies under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyFamily {
    KnownChain,
    SweepPlace,
    /// The number of the format that a yard on AWS is in.
    Format,
    ChainState,
    Halt,
    Tip,
    Frontier,
    /// What a followed node says is safe and finalized.
    Finality,
    /// What a follower last saw of its nodes.
    Following,
    Cursor,
    OutState,
    SinkCursor,
    /// How far a level sink is.
    LevelPlace,
    PipelineText,
    Canonical,
    KnownBlock,
    CutAt,
    Scope,
    Group,
    Task,
    Marker,
    PoolChain,
    Listing,
    Worker,
    Heartbeat,
    SeenHeartbeat,
    Slot,
    /// Which workers a job of AWS Batch registered.
    JobWorkers,
    Judgement,
    OutEntry,
    Told,
    /// Guards all pages of an account's journal.
    JournalHead,
    /// What an account has under way, page by page.
    JournalPage,
    /// What an account has sent that is at its end, each by its message's name.
    JournalFinished,
    /// The workers of the process on this machine.
    LocalWorkers,
    /// Which jobs of AWS Batch were submitted for a pool.
    PoolJobs,
    /// How far a chain's blocks file was taken.
    BlocksTaken,
    MetricsCursor,
}

/// What the partition is after the table's letter.
#[derive(Clone, Copy)]
enum Of {
    /// Nothing: there is one such partition.
    Nothing,
    /// `#` and this.
    This(&'static str),
    /// `#` and what the item is about.
    Subject,
}

/// What the sort key is.
#[derive(Clone, Copy)]
enum Sort {
    Is(&'static str),
    /// This, `#` and a name or a number.
    Begins(&'static str),
    /// Something without a `#`.
    Plain,
    /// Something with a `#` in it.
    Marked,
}

impl KeyFamily {
    const ALL: [Self; 38] = [
        Self::KnownChain,
        Self::SweepPlace,
        Self::Format,
        Self::ChainState,
        Self::Halt,
        Self::Tip,
        Self::Frontier,
        Self::Finality,
        Self::Following,
        Self::Cursor,
        Self::OutState,
        Self::SinkCursor,
        Self::LevelPlace,
        Self::PipelineText,
        Self::Canonical,
        Self::KnownBlock,
        Self::CutAt,
        Self::Scope,
        Self::Group,
        Self::Task,
        Self::Marker,
        Self::PoolChain,
        Self::Listing,
        Self::Worker,
        Self::Heartbeat,
        Self::SeenHeartbeat,
        Self::Slot,
        Self::JobWorkers,
        Self::Judgement,
        Self::OutEntry,
        Self::Told,
        Self::JournalHead,
        Self::JournalPage,
        Self::JournalFinished,
        Self::LocalWorkers,
        Self::PoolJobs,
        Self::BlocksTaken,
        Self::MetricsCursor,
    ];

    const fn layout(self) -> (Table, Of, Sort) {
        match self {
            Self::KnownChain => (Table::Yard, Of::Nothing, Sort::Plain),
            Self::SweepPlace => (Table::Yard, Of::This("sweep"), Sort::Is("place")),
            Self::Format => (Table::Yard, Of::This("format"), Sort::Is("format")),
            Self::ChainState => (Table::Chain, Of::Subject, Sort::Is("chain")),
            Self::Halt => (Table::Chain, Of::Subject, Sort::Begins("halt")),
            Self::Tip => (Table::Chain, Of::Subject, Sort::Is("tip")),
            Self::Frontier => (Table::Chain, Of::Subject, Sort::Is("frontier")),
            Self::Finality => (Table::Chain, Of::Subject, Sort::Is("finality")),
            Self::Following => (Table::Chain, Of::Subject, Sort::Is("node")),
            Self::Cursor => (Table::Chain, Of::Subject, Sort::Begins("cur")),
            Self::OutState => (Table::Chain, Of::Subject, Sort::Begins("out")),
            Self::SinkCursor => (Table::Chain, Of::Subject, Sort::Begins("sink")),
            Self::LevelPlace => (Table::Chain, Of::Subject, Sort::Begins("level")),
            Self::PipelineText => (Table::Chain, Of::Subject, Sort::Begins("pipe")),
            Self::Canonical => (Table::Height, Of::Subject, Sort::Plain),
            Self::KnownBlock => (Table::Height, Of::Subject, Sort::Marked),
            Self::CutAt => (Table::Cut, Of::Subject, Sort::Plain),
            Self::Scope => (Table::Scope, Of::Subject, Sort::Is("scope")),
            Self::Group => (Table::Scope, Of::Subject, Sort::Begins("g")),
            Self::Task => (Table::Task, Of::Subject, Sort::Plain),
            Self::Marker => (Table::Marker, Of::Subject, Sort::Plain),
            Self::PoolChain => (Table::Pool, Of::Subject, Sort::Plain),
            Self::Listing => (Table::Pool, Of::Subject, Sort::Marked),
            Self::Worker => (Table::Worker, Of::Subject, Sort::Is("w")),
            Self::Heartbeat => (Table::Worker, Of::Subject, Sort::Is("hb")),
            Self::SeenHeartbeat => (Table::Worker, Of::Subject, Sort::Is("seen")),
            Self::Slot => (Table::Worker, Of::Subject, Sort::Begins("slot")),
            Self::JobWorkers => (Table::Worker, Of::Subject, Sort::Is("ids")),
            Self::Judgement => (Table::Judgement, Of::Subject, Sort::Plain),
            Self::OutEntry => (Table::OutLog, Of::Subject, Sort::Plain),
            Self::Told => (Table::Told, Of::Subject, Sort::Plain),
            Self::JournalHead => (Table::Account, Of::Subject, Sort::Is("head")),
            Self::JournalPage => (Table::Account, Of::Subject, Sort::Begins("page")),
            Self::JournalFinished => (Table::Account, Of::Subject, Sort::Begins("done")),
            Self::LocalWorkers => (Table::Home, Of::Nothing, Sort::Is("workers")),
            Self::PoolJobs => (Table::Home, Of::Nothing, Sort::Begins("jobs")),
            Self::BlocksTaken => (Table::Home, Of::Subject, Sort::Is("fed")),
            Self::MetricsCursor => (Table::Home, Of::Subject, Sort::Is("told")),
        }
    }

    /// `None` for a key that no yard writes.
    pub fn of(key: &Key) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.has(key))
    }

    fn has(self, key: &Key) -> bool {
        let (table, of, sort) = self.layout();
        let (letter, rest) = match key.partition.split_once('#') {
            Some((letter, rest)) => (letter, Some(rest)),
            None => (&key.partition[..], None),
        };
        let is_of = match of {
            Of::Nothing => rest.is_none(),
            Of::This(name) => rest == Some(name),
            Of::Subject => rest.is_some(),
        };
        let mark = key.sort.find('#');
        letter == table.letter()
            && is_of
            && match sort {
                Sort::Is(name) => key.sort == name,
                Sort::Begins(name) => mark.is_some_and(|mark| &key.sort[..mark] == name),
                Sort::Plain => mark.is_none(),
                Sort::Marked => mark.is_some(),
            }
    }

    /// The partition of what is about this; nothing is asked of it where there is one such partition.
    pub fn partition(self, about: impl Display) -> String {
        let (table, of, _) = self.layout();
        let letter = table.letter();
        match of {
            Of::Nothing => letter.to_owned(),
            Of::This(name) => format!("{letter}#{name}"),
            Of::Subject => format!("{letter}#{about}"),
        }
    }

    /// The sort key with this in it; nothing is asked of it where all such items have the same.
    pub fn sort(self, which: impl Display) -> String {
        match self.layout().2 {
            Sort::Is(name) => name.to_owned(),
            Sort::Begins(name) => format!("{name}#{which}"),
            Sort::Plain | Sort::Marked => which.to_string(),
        }
    }

    /// Of the item that is about this, where there is one.
    pub fn key(self, about: impl Display) -> Key {
        self.key_in(about, "")
    }

    /// Of one of several items that are about the same.
    pub fn key_in(self, about: impl Display, which: impl Display) -> Key {
        Key::new(self.partition(about), self.sort(which))
    }

    /// All that are about the same, in a partition that has no other family or where their sort keys begin alike.
    pub fn range(self, about: impl Display, limit: usize) -> Range {
        let all = Range::all(self.partition(about), limit);
        match self.layout().2 {
            // What follows a `#` in the order of sort keys.
            Sort::Begins(name) => Range { from: format!("{name}#"), to: Some(format!("{name}$")), ..all },
            Sort::Is(_) | Sort::Plain | Sort::Marked => all,
        }
    }

    /// What a key's item is about, as its partition says: a chain, a scope, a scope and a stage, and so on.
    pub fn about(key: &Key) -> &str {
        key.partition.split_once('#').map_or("", |(_, about)| about)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worker::PoolChain;
    use super::super::{
        Canonical, ChainName, ChainState, Cursor, CutAt, Finality, Following, Frontier, Group, HaltCause,
        Heartbeat, Judgement, KnownBlock, KnownChain, LevelPlace, OutEntry, OutState, PipelineText, Scope,
        ScopeId, SeenHeartbeat, SinkCursor, Slot, SweepPlace, TaskId, Tip, Told, Worker,
    };
    use super::*;
    use crate::transaction::Item;

    #[test]
    fn keys_are_written_as_they_are_stored_and_known_again() {
        let chain = &ChainName::from("c");
        let scope = ScopeId::of_block(chain, 7, &"0xab".into(), 0);
        let task = TaskId::new(&scope, "join", 3);
        let served = PoolChain { pool: "gpu".into(), chain: "c".into(), acts: None };
        let written = [
            (KnownChain::key_of(chain), KeyFamily::KnownChain, "Y / c"),
            (SweepPlace::key(), KeyFamily::SweepPlace, "Y#sweep / place"),
            (KeyFamily::Format.key(""), KeyFamily::Format, "Y#format / format"),
            (ChainState::key_of(chain), KeyFamily::ChainState, "C#c / chain"),
            (HaltCause::key_of(chain, 2), KeyFamily::Halt, "C#c / halt#00000000000000000002"),
            (Tip::key_of(chain), KeyFamily::Tip, "C#c / tip"),
            (Frontier::key_of(chain), KeyFamily::Frontier, "C#c / frontier"),
            (Finality::key_of(chain), KeyFamily::Finality, "C#c / finality"),
            (Following::key_of(chain), KeyFamily::Following, "C#c / node"),
            (Cursor::key_of(chain, "wrap"), KeyFamily::Cursor, "C#c / cur#wrap"),
            (OutState::key_of(chain, "wrap"), KeyFamily::OutState, "C#c / out#wrap"),
            (SinkCursor::key_of(chain, "file", "commits"), KeyFamily::SinkCursor, "C#c / sink#file#commits"),
            (LevelPlace::key_of(chain, "file"), KeyFamily::LevelPlace, "C#c / level#file"),
            (PipelineText::key_of(chain, &"77".into()), KeyFamily::PipelineText, "C#c / pipe#77"),
            (Canonical::key_of(chain, 1_030), KeyFamily::Canonical, "H#c#1 / 00000000000000001030"),
            (
                KnownBlock::key_of(chain, 7, &"0xab".into()),
                KeyFamily::KnownBlock,
                "H#c#0 / 00000000000000000007#0xab",
            ),
            (CutAt::key_of(chain, "wrap", 7), KeyFamily::CutAt, "K#c#wrap / 00000000000000000007"),
            (Scope::key_of(&scope), KeyFamily::Scope, "S#c:b:7:0xab:0 / scope"),
            (Group::key_of(&scope, "join"), KeyFamily::Group, "S#c:b:7:0xab:0 / g#join"),
            (task.task_key(), KeyFamily::Task, "T#c:b:7:0xab:0#join / 00003"),
            (task.marker_key(), KeyFamily::Marker, "M#c:b:7:0xab:0#join / 00003"),
            (Judgement::key_of(&task), KeyFamily::Judgement, "V#c:b:7:0xab:0#join / 00003"),
            (served.key(), KeyFamily::PoolChain, "R#gpu / c"),
            (KeyFamily::Listing.key_in("gpu#c#0", "1#ab"), KeyFamily::Listing, "R#gpu#c#0 / 1#ab"),
            (Worker::key_of(&"w-1".into()), KeyFamily::Worker, "W#w-1 / w"),
            (Heartbeat::key_of(&"w-1".into()), KeyFamily::Heartbeat, "W#w-1 / hb"),
            (SeenHeartbeat::key_of(&"w-1".into()), KeyFamily::SeenHeartbeat, "W#w-1 / seen"),
            (Slot::key_of(&"w-1".into(), 4), KeyFamily::Slot, "W#w-1 / slot#0004"),
            (KeyFamily::JobWorkers.key("job:j"), KeyFamily::JobWorkers, "W#job:j / ids"),
            (
                OutEntry::key_of(chain, "commits", 9),
                KeyFamily::OutEntry,
                "O#c#commits / 00000000000000000009",
            ),
            (Told::key_of(chain, "file", 9), KeyFamily::Told, "N#c#file / 00000000000000000009"),
            (KeyFamily::JournalHead.key("1-0xab"), KeyFamily::JournalHead, "A#1-0xab / head"),
            (
                KeyFamily::JournalPage.key_in("1-0xab", "raw-0xcd"),
                KeyFamily::JournalPage,
                "A#1-0xab / page#raw-0xcd",
            ),
            (
                KeyFamily::JournalFinished.key_in("1-0xab", "0xcd"),
                KeyFamily::JournalFinished,
                "A#1-0xab / done#0xcd",
            ),
            (KeyFamily::LocalWorkers.key(""), KeyFamily::LocalWorkers, "L / workers"),
            (KeyFamily::PoolJobs.key_in("", "gpu"), KeyFamily::PoolJobs, "L / jobs#gpu"),
            (KeyFamily::BlocksTaken.key("c"), KeyFamily::BlocksTaken, "L#c / fed"),
            (KeyFamily::MetricsCursor.key("c"), KeyFamily::MetricsCursor, "L#c / told"),
        ];
        for (key, family, text) in &written {
            assert_eq!(key.to_string(), *text);
            assert_eq!(KeyFamily::of(key), Some(*family), "{text}");
            assert_eq!(Table::of(key), Some(family.layout().0), "{text}");
        }
        assert_eq!(written.len(), KeyFamily::ALL.len());
        assert_eq!(KeyFamily::about(&written[3].0), "c");
    }

    #[test]
    fn a_key_that_nobody_writes_is_of_no_family() {
        for (partition, sort) in
            [("X#c", "tip"), ("C", "tip"), ("C#c", "tips"), ("Y#other", "place"), ("", "")]
        {
            assert_eq!(KeyFamily::of(&Key::new(partition, sort)), None, "{partition} / {sort}");
        }
    }
}
