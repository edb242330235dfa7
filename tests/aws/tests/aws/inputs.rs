//! What a task needs is not in the bucket, or not whole: it is told, and once it is put again, work goes on.

use proofyard_aws_tests::toy::{ToyYard, artifact, key_of, payload};
use proofyard_aws_tests::wait_for;

#[test]
fn a_payload_that_is_missing_or_cut_short_is_told_and_mended_by_putting_it_again() {
    // A worker that could be blamed for it would be gone for good.
    let pool = "quarantine_after = 1\nquarantine_ms = 3600000";
    let yard = ToyYard::new(&[], "max_attempts = 2\nbackoff_ms = 100", pool);
    let _worker = yard.worker("worker", |_| {});
    type Damage<'a> = (u64, &'a dyn Fn(&str), &'a str);
    let damages: [Damage<'_>; 2] = [
        (1, &|key| yard.remove(key), "is missing; put back a copy of it"),
        (
            2,
            &|key| yard.overwrite(key, &payload(2)[..5]),
            "is damaged: it has 5 of 22 bytes; put back a copy of it",
        ),
    ];
    for (height, damage, complaint) in damages {
        let key = key_of(&artifact(&payload(height)));
        yard.pause();
        let task = yard.block(height);
        damage(&key);
        yard.resume();
        wait_for("a parked task", || {
            yard.sweep();
            yard.task(&task).is_parked().then_some(())
        });
        assert_eq!(yard.asked_to_prove(&task), 0);
        let (said, code) = yard.command(&["explain", &height.to_string()]);
        assert!(said.contains(&format!("s3://{}/{key}", yard.aws.bucket())), "{said}");
        assert!(said.contains(complaint) && said.contains("proofyard retry"), "{said}");
        assert_eq!(code, 0, "{said}");
        yard.overwrite(&key, payload(height));
        let (said, code) = yard.command(&["retry"]);
        assert_eq!(code, 0, "{said}");
        wait_for("a result", || {
            yard.sweep();
            yard.task(&task).is_accepted().then_some(())
        });
    }
    wait_for("both commits", || (yard.committed() == [1, 2]).then_some(()));
}
