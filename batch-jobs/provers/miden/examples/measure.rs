use proofyard_miden::{statement::*, vm::*, word::*};
fn main() {
    let n: u32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let txs: Vec<[u8; 32]> = (0..n)
        .map(|i| core::array::from_fn(|j| (i as u8).wrapping_mul(37) ^ (j as u8).wrapping_mul(11) ^ 0xf0))
        .collect();
    let vm = SegmentVm::new().unwrap();
    let pre = absorb(miden_core::Word::empty(), &[9; 32]);
    let s = SegmentStatement {
        chain_id: u64::MAX,
        height: 5,
        from: 3,
        to: 3 + n,
        pre,
        post: absorb_all(pre, &txs),
        transactions_digest: absorb_all(miden_core::Word::empty(), &txs),
    };
    let t = std::time::Instant::now();
    let p = vm.prove(&s, &txs).unwrap();
    let proved = t.elapsed();
    let t = std::time::Instant::now();
    let bits = vm.verify(&s, &p).unwrap();
    println!("{n} tx: prove {proved:?} verify {:?} bytes {} bits {bits}", t.elapsed(), p.len());
}
