//! A whole block at once: its canonical values are computed in the proof.

use std::sync::OnceLock;

use proofyard_miden::ProofHash::Blake3;
use proofyard_miden::programs::BlockProgram;
use proofyard_statement::{BlockValues, Error, ProofFile};

use crate::{block, changed, segments};

fn blocks() -> &'static BlockProgram {
    static PROGRAM: OnceLock<BlockProgram> = OnceLock::new();
    PROGRAM.get_or_init(|| BlockProgram::new().unwrap())
}

#[test]
fn blocks_without_with_one_and_with_four_transactions_are_proved() {
    for transactions in [0, 1, 4] {
        let block = block(7, transactions, 2);
        let values = blocks().check(&blocks().prove(&block, Blake3).unwrap()).unwrap();
        assert_eq!(values, block.values());
        assert_eq!(values.post, block.post);
    }
}

#[test]
fn changed_claims_are_rejected() {
    let block = block(7, 3, 2);
    let proof = blocks().prove(&block, Blake3).unwrap();
    let proved = blocks().check(&proof).unwrap();
    let changes: [fn(&mut BlockValues); 7] = [
        |v| v.chain_id ^= 1,
        |v| v.chain_id ^= 1 << 40,
        |v| v.height += 1,
        |v| v.height += 1 << 32,
        |v| v.pre = changed(v.pre),
        |v| v.post = changed(v.post),
        |v| v.transactions = changed(v.transactions),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut claimed = proved.clone();
        change(&mut claimed);
        let forged = ProofFile { public_values: claimed.to_bytes(), ..proof.clone() };
        let error = blocks().check(&forged).unwrap_err();
        assert!(matches!(error, Error::Rejected(_)), "change {index}: {error}");
    }
    let error = segments().check(&proof).unwrap_err();
    assert!(matches!(&error, Error::Rejected(why) if why.contains("of the program")), "{error}");
}

#[test]
fn a_block_that_states_another_post_state_is_not_proved() {
    let mut wrong = block(7, 2, 2);
    wrong.post = changed(wrong.post);
    let error = blocks().prove(&wrong, Blake3).unwrap_err();
    assert!(matches!(&error, Error::Block(why) if why.contains("post-state")), "{error}");
    let large = block(7, 258, 258);
    let error = blocks().prove(&large, Blake3).unwrap_err();
    assert!(matches!(&error, Error::Block(why) if why.contains("at most 256")), "{error}");
}
