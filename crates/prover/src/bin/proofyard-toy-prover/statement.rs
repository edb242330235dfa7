//! What the toy "proves": which inputs it had.

use proofyard_prover::{Failure, Input, InputKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// "proofyard toy key", in hexadecimal.
pub const KEY: &str = "70726f6f667961726420746f79206b6579";

const WARNING: &str = "a toy: it proves nothing";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// sha-256 over each input's file (its sha-256) and index.
    pub digest: String,
    /// The same, or, where all inputs are proofs with public values, sha-256 over those.
    pub public_values: String,
    bare: bool,
}

impl Statement {
    pub fn of(inputs: &[Input], careless: bool) -> Result<Statement, Failure> {
        let mut digest = Sha256::new();
        for input in inputs {
            let content = input.read_file()?;
            if input.kind == InputKind::Block && !content.trim_ascii_start().starts_with(b"{") && !careless {
                return Err(Failure::permanent(format!("{} is no block", input.path.display())));
            }
            digest.update(Sha256::digest(content));
            digest.update(input.index.map_or(u64::MAX, u64::from).to_le_bytes());
        }
        let digest = hex::encode(digest.finalize());
        let public_values = joined_values(inputs)?.unwrap_or(digest.clone());
        Ok(Statement { digest, public_values, bare: false })
    }

    /// For the bare payload, which does not say where it comes from.
    pub fn of_bare(payload: &[u8]) -> Statement {
        let digest = hex::encode(Sha256::digest(payload));
        Statement { public_values: digest.clone(), digest, bare: true }
    }

    pub fn falsified(&self) -> Statement {
        let other = |text: &str| hex::encode(Sha256::digest(format!("not {text}")));
        let (digest, public_values) = (other(&self.digest), other(&self.public_values));
        Statement { digest, public_values, bare: self.bare }
    }
}

fn joined_values(inputs: &[Input]) -> Result<Option<String>, Failure> {
    let mut joined = Sha256::new();
    for input in inputs {
        let (InputKind::Proof, Some(values)) = (input.kind, &input.public_values) else { return Ok(None) };
        joined.update(hex::decode(values).map_err(Failure::permanent)?);
    }
    Ok((!inputs.is_empty()).then(|| hex::encode(joined.finalize())))
}

/// The content of a toy proof's file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Proof {
    warning: String,
    statement: String,
    public_values: String,
    bare: bool,
}

impl Proof {
    pub fn of(statement: &Statement) -> Proof {
        Proof {
            warning: WARNING.into(),
            statement: statement.digest.clone(),
            public_values: statement.public_values.clone(),
            bare: statement.bare,
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn read(content: &[u8]) -> Result<Proof, Failure> {
        let proof: Proof = serde_json::from_slice(content)
            .map_err(|error| Failure::permanent(format!("this is not a toy proof: {error}")))?;
        match proof.warning == WARNING && proof.to_json() == content {
            true => Ok(proof),
            false => Err(Failure::permanent("this is not a toy proof as the toy writes it")),
        }
    }

    /// Whether it is a toy proof of anything.
    pub fn is_whole(content: &[u8]) -> bool {
        Proof::read(content).is_ok()
    }

    /// Returns the public values if the proof is about these inputs.
    pub fn check(content: &[u8], inputs: &[Input]) -> Result<String, Failure> {
        let proof = Proof::read(content)?;
        let expected = match proof.bare {
            true => Statement::of_bare(&bare_payload(inputs)?),
            false => Statement::of(inputs, true)?,
        };
        if proof.statement != expected.digest || proof.public_values != expected.public_values {
            return Err(Failure::permanent("this proof is not about these inputs"));
        }
        Ok(proof.public_values)
    }
}

/// As the runner writes it.
fn bare_payload(inputs: &[Input]) -> Result<Vec<u8>, Failure> {
    let contents: Result<Vec<Vec<u8>>, _> = inputs.iter().map(Input::read).collect();
    let contents = contents?;
    match contents.as_slice() {
        [one] => Ok(one.clone()),
        several => Ok([b"[".as_slice(), &several.join(b",".as_slice()), b"]"].concat()),
    }
}
