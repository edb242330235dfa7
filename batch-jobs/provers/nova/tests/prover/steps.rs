//! The step as constraints: what it computes, and that a witness of anything else breaks it.

use ff::Field;
use nova_snark::frontend::ConstraintSystem;
use nova_snark::frontend::num::AllocatedNum;
use nova_snark::traits::circuit::StepCircuit;
use proofyard_nova::step::{Boundary, ELEMENTS, Scalar, Step, halves, steps_of};
use proofyard_statement::digest::{absorb, start};

use crate::recorder::Recorder;
use crate::{CHAIN_ID, GENESIS, block, random};

const NAMES: [&str; ELEMENTS] = [
    "keeps",
    "chain",
    "height",
    "alone",
    "state low",
    "state high",
    "digest low",
    "digest high",
    "closed low",
    "closed high",
];
const ABSORB: Step = Step::Absorb([1; 32], Some([2; 32]));
const ALONE: Step = Step::Absorb([3; 32], None);

/// Runs a step on these values; all that it has, and the next values.
fn run(z: [Scalar; ELEMENTS], step: Step) -> (Recorder, [Scalar; ELEMENTS]) {
    let mut cs = Recorder::default();
    let element = |(name, value): (&str, Scalar)| {
        AllocatedNum::alloc(cs.namespace(|| format!("z {name}")), || Ok(value)).unwrap()
    };
    let z: Vec<_> = NAMES.into_iter().zip(z).map(element).collect();
    let next = step.synthesize(&mut cs, &z).unwrap();
    let next: Vec<Scalar> = next.iter().map(|element| element.get_value().unwrap()).collect();
    (cs, next.try_into().unwrap())
}

fn boundary(keeps: bool, height: u64) -> Boundary {
    Boundary { keeps, chain_id: CHAIN_ID, height, state: GENESIS, closed: [0; 32] }
}

/// Values inside a block: its digest is a hash.
fn inside(keeps: bool) -> [Scalar; ELEMENTS] {
    let mut z = boundary(keeps, 0x0102_0304_0506_07ff).to_elements();
    [z[6], z[7]] = halves(&random(1));
    z
}

fn element(name: &str) -> usize {
    NAMES.iter().position(|one| *one == name).unwrap()
}

#[test]
fn the_steps_of_a_block_lead_to_what_the_statement_says() {
    for (transactions, keeps) in [(0, true), (1, false), (2, true), (3, false), (3, true), (4, true)] {
        let height = 0x01ff - transactions as u64;
        let block = block(height, transactions, GENESIS);
        let mut z = boundary(keeps, height).to_elements();
        for step in steps_of(&block) {
            let (cs, next) = run(z, step);
            assert_eq!(cs.broken(), [""; 0], "{transactions} transactions, {step:?}");
            z = next;
        }
        let values = block.values();
        let closed = if keeps { values.transactions } else { [0; 32] };
        let end = Boundary { state: values.post, closed, ..boundary(keeps, height + 1) };
        assert_eq!(z, end.to_elements(), "{transactions} transactions");
    }
}

#[test]
fn a_block_is_cut_in_the_one_way_of_the_rule() {
    let steps = |transactions| steps_of(&block(1, transactions, GENESIS)).collect::<Vec<_>>();
    assert_eq!(steps(0), [Step::Close]);
    assert!(matches!(steps(3)[..], [Step::Absorb(_, Some(_)), Step::Absorb(_, None), Step::Close]));
    let (_, next) = run(inside(false), ALONE);
    assert_eq!(next[element("alone")], Scalar::ONE);
    for step in [ABSORB, ALONE] {
        assert_eq!(run(next, step).0.broken(), ["what stands alone stands last"], "{step:?}");
    }
    let (cs, next) = run(next, Step::Close);
    assert_eq!((cs.broken(), next[element("alone")]), (vec![], Scalar::ZERO));
}

/// Zeros after a lone transaction are not a second one of zeros.
#[test]
fn a_lone_transaction_is_not_one_before_zeros() {
    let digest = |step| run(inside(false), step).1[element("digest low")];
    assert_eq!(digest(ALONE), halves(&absorb(random(1), &[[3; 32]]))[0]);
    assert_ne!(digest(ALONE), digest(Step::Absorb([3; 32], Some([0; 32]))));
}

#[test]
fn heights_do_not_wrap() {
    let last = boundary(true, u64::MAX).to_elements();
    assert_eq!(run(last, Step::Close).0.broken(), ["following height is one more"]);
    assert_eq!(run(last, ABSORB).0.broken(), ["following height is one more"]);
    assert!(run(boundary(true, u64::MAX - 1).to_elements(), Step::Close).0.broken().is_empty());
}

/// One of the next values is not what the step says, all else is: an absorbing step that changes the state, a close
/// that keeps the height, a digest that does not begin anew, and so on.
#[test]
fn no_next_value_can_be_another() {
    let other_start = halves(&start(CHAIN_ID, 7))[0];
    for step in [ABSORB, ALONE, Step::Close] {
        let z = inside(true);
        let (mut cs, next) = run(z, step);
        assert_eq!(cs.broken(), [""; 0]);
        for (index, name) in NAMES.into_iter().enumerate().skip(2) {
            let (variable, constraint) = match name {
                "alone" => ("next alone/num".into(), "next alone is neither a close nor a pair".into()),
                _ => {
                    let place =
                        if name.starts_with("closed") { format!("{name}/choice") } else { name.into() };
                    let rule = "condition * (when - otherwise) = chosen - otherwise";
                    (format!("next {place}/chosen/num"), format!("next {place}/{rule}"))
                }
            };
            assert_eq!(cs.value(&variable), next[index], "{name}");
            // What it was before, zero, one more, the start of another block.
            for forged in [z[index], Scalar::ZERO, next[index] + Scalar::ONE, other_start] {
                if forged == next[index] {
                    continue;
                }
                cs.set(&variable, forged);
                assert_eq!(cs.broken(), [constraint.as_str()], "{step:?}, {name}");
            }
            cs.set(&variable, next[index]);
        }
    }
}

/// Values before the step that its witness is not made for break it, but for those that the step does not depend on.
#[test]
fn no_value_before_can_be_another() {
    for (step, unused) in [
        // It goes on unchanged.
        (ABSORB, &["chain"][..]),
        (ALONE, &["chain"]),
        // A block may end with one transaction or two; an earlier block's digest is replaced.
        (Step::Close, &["alone", "closed low", "closed high"]),
    ] {
        let (mut cs, _) = run(inside(true), step);
        for name in NAMES {
            let variable = format!("z {name}/num");
            let value = cs.value(&variable);
            cs.set(&variable, value + Scalar::ONE);
            assert_eq!(cs.broken().is_empty(), unused.contains(&name), "{step:?}, {name}: {:?}", cs.broken());
            cs.set(&variable, value);
        }
    }
}

#[test]
fn no_variable_of_a_step_is_free() {
    for (step, free) in [
        (ABSORB, &["z chain/num"][..]),
        (ALONE, &["z chain/num"]),
        (Step::Close, &["z alone/num", "z closed low/num", "z closed high/num"]),
    ] {
        let (mut cs, _) = run(inside(true), step);
        assert_eq!(cs.free(), free, "{step:?}, {} variables", cs.variables().len());
    }
}

#[test]
fn selectors_are_bits_and_exclude_each_other() {
    let half = Scalar::from(2).invert().unwrap();
    for forged in [Scalar::from(2), half, -Scalar::ONE] {
        for name in ["closes", "pair"] {
            let (mut cs, _) = run(inside(true), ABSORB);
            cs.set(&format!("{name}/boolean"), forged);
            let rule = format!("{name}/boolean constraint");
            assert!(cs.broken().contains(&rule.as_str()), "{name}: {:?}", cs.broken());
        }
    }
    let (mut cs, _) = run(inside(true), ABSORB);
    cs.set("closes/boolean", Scalar::ONE);
    assert!(cs.broken().contains(&"a close takes no pair"));
    let (mut cs, _) = run(inside(true), Step::Close);
    cs.set("pair/boolean", Scalar::ONE);
    assert!(cs.broken().contains(&"a close takes no pair"));
}

/// Wider "bits" can leave every sum as it is: only that they must be bits stops them.
#[test]
fn words_have_32_bits() {
    let (mut cs, _) = run(inside(true), Step::Close);
    for place in ["low key", "high key", "message quarter 0", "message quarter 3"] {
        let bit = |index: usize| format!("{place}/bits/{index}/boolean");
        let (low, high) = (cs.value(&bit(31)), cs.value(&bit(32)));
        // A word takes its neighbour's lowest bit as a 33rd of its own.
        let moved = high + high - Scalar::ONE;
        cs.set(&bit(31), low + moved + moved);
        cs.set(&bit(32), high - moved);
        let rule = format!("{place}/bits/31/boolean constraint");
        let broken = cs.broken();
        assert!(broken.contains(&rule.as_str()), "{place}: {broken:?}");
        assert!(!broken.iter().any(|name| name.contains("/is ")), "the sums were to stay: {broken:?}");
        cs.set(&bit(31), low);
        cs.set(&bit(32), high);
    }
    assert_eq!(cs.broken(), [""; 0]);
}

/// A witness that is right for one digest or state, put where another one is.
#[test]
fn a_close_hashes_its_own_state_and_digest() {
    let (mut cs, _) = run(inside(true), Step::Close);
    for (name, rule) in [
        ("digest low", "message quarter 0/is the digest's in a close"),
        ("digest high", "message quarter 1/is the digest's in a close"),
        ("state low", "low key/is the state's or the digest's"),
        ("state high", "high key/is the state's or the digest's"),
    ] {
        let variable = format!("z {name}/num");
        let value = cs.value(&variable);
        cs.set(&variable, halves(&random(9))[0]);
        assert!(cs.broken().contains(&rule), "{name}: {:?}", cs.broken());
        cs.set(&variable, value);
    }
    // Nor may anything follow the digest, or a lone transaction.
    for step in [Step::Close, ALONE] {
        for quarter in [2, 3] {
            let (mut cs, _) = run(inside(true), step);
            cs.set(&format!("message quarter {quarter}/bits/7/boolean"), Scalar::ONE);
            let rule = format!("message quarter {quarter}/is zero without a pair");
            assert!(cs.broken().contains(&rule.as_str()), "{step:?}: {:?}", cs.broken());
        }
    }
}

/// The README names it; it moves with the circuit, as the key does.
#[test]
fn a_step_has_so_many_constraints() {
    let (cs, _) = run(inside(true), ABSORB);
    assert_eq!(cs.constraints(), 15_687);
}
