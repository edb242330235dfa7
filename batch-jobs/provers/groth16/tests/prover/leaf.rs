//! The circuit of one block: what satisfies it, and what each of its constraints is there to prevent.

use std::array;

use proofyard_groth16::leaf::{LeafCircuit, MAX_TRANSACTIONS};
use proofyard_statement::digest::{absorb, close, start};
use proofyard_statement::{BlockValues, Error, TransactionHash};

use crate::constraints::Constraints;
use crate::{CHAIN_ID, block, transaction};

const PRE: [u8; 32] = [0xa7; 32];
const HEIGHT: u64 = 0x0102_0304_0506_0708;

fn circuit(transactions: usize) -> LeafCircuit {
    LeafCircuit::of(&block(HEIGHT, transactions, PRE)).unwrap()
}

fn broken(circuit: LeafCircuit) -> usize {
    Constraints::of(circuit).unwrap().broken()
}

/// Public values with this digest of transactions, right in everything else.
fn values(transactions: [u8; 32]) -> BlockValues {
    let post = close(PRE, transactions);
    BlockValues { chain_id: CHAIN_ID, height: HEIGHT, pre: PRE, post, transactions }
}

#[test]
fn blocks_up_to_the_capacity_satisfy_it() {
    let sizes: Vec<usize> = (0..=MAX_TRANSACTIONS)
        .map(|transactions| {
            let constraints = Constraints::of(circuit(transactions)).unwrap();
            assert_eq!(constraints.broken(), 0, "{transactions} transactions");
            constraints.count()
        })
        .collect();
    let blank = Constraints::of(LeafCircuit::blank()).unwrap().count();
    assert!(sizes.iter().all(|size| *size == blank), "one circuit for all: {sizes:?}, {blank}");
    assert!(blank < 1 << 17, "{blank} constraints would double the proof's domain");
}

#[test]
fn no_variable_is_free() {
    for transactions in [0, 3, MAX_TRANSACTIONS] {
        assert_eq!(Constraints::of(circuit(transactions)).unwrap().unbound(), [0_usize; 0]);
    }
}

#[test]
fn larger_blocks_and_wrong_states_are_refused() {
    let error = LeafCircuit::of(&block(HEIGHT, MAX_TRANSACTIONS + 1, PRE)).unwrap_err();
    assert!(error.to_string().contains("9 transactions"), "{error}");
    assert!(error.is_permanent());
    let mut wrong = block(HEIGHT, 3, PRE);
    wrong.post[0] ^= 1;
    assert!(matches!(LeafCircuit::of(&wrong), Err(Error::Block(_))));
}

#[test]
fn each_public_value_is_bound() {
    type Change = fn(&mut BlockValues);
    let changes: [(&str, Change); 5] = [
        ("chain id", |values| values.chain_id ^= 1 << 63),
        ("height", |values| values.height ^= 1),
        ("pre-state", |values| values.pre[31] ^= 0x80),
        ("post-state", |values| values.post[0] ^= 1),
        ("transactions digest", |values| values.transactions[17] ^= 4),
    ];
    for (what, change) in changes {
        let mut changed = circuit(3);
        change(&mut changed.values);
        assert!(broken(changed) > 0, "{what}");
    }
}

#[test]
fn each_transaction_is_bound() {
    for index in 0..3 {
        for byte in [0, 31] {
            let mut changed = circuit(3);
            changed.transactions[index][byte] ^= 1;
            assert!(broken(changed) > 0, "transaction {index}");
        }
    }
    let mut swapped = circuit(3);
    swapped.transactions.swap(0, 1);
    assert!(broken(swapped) > 0);
}

#[test]
fn more_or_fewer_transactions_are_another_statement() {
    let mut more = circuit(3);
    more.present[3] = true;
    assert!(broken(more) > 0);
    let mut fewer = circuit(3);
    fewer.present[2] = false;
    assert!(broken(fewer) > 0);
    // Three transactions are not four of which the last is zeros.
    let padded: [TransactionHash; 4] =
        array::from_fn(|index| if index < 3 { transaction(HEIGHT, index) } else { [0; 32] });
    let mut padded = LeafCircuit { values: values(absorb(start(CHAIN_ID, HEIGHT), &padded)), ..circuit(3) };
    assert!(broken(padded.clone()) > 0);
    padded.present[3] = true;
    assert_eq!(broken(padded), 0, "but the four are themselves a block");
}

/// A step of one transaction in the middle would be another digest for the same transactions. All that prevents it is
/// that a later one may not be there without the one before it.
#[test]
fn a_step_in_the_middle_is_full() {
    let [one, two, three] = array::from_fn(|index| transaction(HEIGHT, index));
    let digest = absorb(absorb(start(CHAIN_ID, HEIGHT), &[one]), &[two, three]);
    let mut transactions = [[0; 32]; MAX_TRANSACTIONS];
    (transactions[0], transactions[2], transactions[3]) = (one, two, three);
    let present = array::from_fn(|index| [0, 2, 3].contains(&index));
    let attack = LeafCircuit { values: values(digest), transactions, present };
    assert_eq!(broken(attack), 1);
}

/// As the last of a step, but not its first.
#[test]
fn a_second_transaction_needs_a_first() {
    let mut transactions = [[0; 32]; MAX_TRANSACTIONS];
    transactions[1] = transaction(HEIGHT, 0);
    let present = array::from_fn(|index| index == 1);
    let attack = LeafCircuit { values: values(start(CHAIN_ID, HEIGHT)), transactions, present };
    assert_eq!(broken(attack), 1);
}

/// Leaving out the second of three steps would give a mixture of digests that no transactions have.
#[test]
fn a_step_in_the_middle_is_not_left_out() {
    let words = |digest: [u8; 32]| -> [i64; 8] {
        array::from_fn(|index| i64::from(u32::from_le_bytes(array::from_fn(|byte| digest[index * 4 + byte]))))
    };
    let mixture = |transactions: &[TransactionHash]| -> Option<[u8; 32]> {
        let first = absorb(start(CHAIN_ID, HEIGHT), &transactions[..2]);
        let second = absorb(first, &transactions[2..3]);
        let third = absorb(second, &transactions[4..6]);
        let mut mixed = [0; 32];
        for (index, bytes) in mixed.chunks_mut(4).enumerate() {
            let word = words(first)[index] - words(second)[index] + words(third)[index];
            bytes.copy_from_slice(&u32::try_from(word).ok()?.to_le_bytes());
        }
        Some(mixed)
    };
    // One in about 26 has words that are all in range, as the closing hash needs them.
    let (transactions, mixed) = (0..10_000)
        .find_map(|attempt| {
            let mut transactions = [[0; 32]; MAX_TRANSACTIONS];
            for (index, one) in transactions.iter_mut().take(6).enumerate() {
                *one = transaction(attempt, index);
            }
            // The step that is left out counts as one of a single transaction.
            transactions[3] = [0; 32];
            mixture(&transactions).map(|mixed| (transactions, mixed))
        })
        .unwrap();
    let present = array::from_fn(|index| [0, 1, 4, 5].contains(&index));
    let attack = LeafCircuit { values: values(mixed), transactions, present };
    assert_eq!(broken(attack), 1);
}

/// What is hashed behind a single transaction is zeros; otherwise a block of one transaction had many digests.
#[test]
fn nothing_hides_behind_a_single_transaction() {
    let mut attack = circuit(3);
    attack.transactions[3] = [1; 32];
    assert_eq!(Constraints::of(attack).unwrap().broken_for_any_claim(), 8, "one for each word");
    assert_eq!(Constraints::of(circuit(3)).unwrap().broken_for_any_claim(), 0);
}
