//! A constraint system that keeps everything, so that a witness can be changed and the constraints that it then
//! breaks can be named.

use std::collections::HashMap;

use ff::Field;
use nova_snark::frontend::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use proofyard_nova::step::Scalar;

struct Constraint {
    name: String,
    a: LinearCombination<Scalar>,
    b: LinearCombination<Scalar>,
    c: LinearCombination<Scalar>,
}

#[derive(Default)]
pub struct Recorder {
    values: Vec<Scalar>,
    names: Vec<String>,
    by_name: HashMap<String, usize>,
    constraints: Vec<Constraint>,
    namespaces: Vec<String>,
}

impl Recorder {
    pub fn constraints(&self) -> usize {
        self.constraints.len()
    }

    pub fn variables(&self) -> &[String] {
        &self.names
    }

    pub fn value(&self, name: &str) -> Scalar {
        self.values[self.by_name[name]]
    }

    pub fn set(&mut self, name: &str, value: Scalar) {
        let index = self.by_name[name];
        self.values[index] = value;
    }

    /// All constraints that the values break.
    pub fn broken(&self) -> Vec<&str> {
        let broken = self.constraints.iter().filter(|constraint| !self.holds(constraint));
        broken.map(|constraint| constraint.name.as_str()).collect()
    }

    /// The variables of which some other value, with all others as they are, breaks nothing. Other values are one
    /// more and, of a bit, the other bit.
    pub fn free(&mut self) -> Vec<String> {
        let mut constraints_of = vec![Vec::new(); self.values.len()];
        for (number, Constraint { a, b, c, .. }) in self.constraints.iter().enumerate() {
            for (variable, _) in a.iter().chain(b.iter()).chain(c.iter()) {
                if let Index::Aux(index) = variable.get_unchecked() {
                    constraints_of[index].push(number);
                }
            }
        }
        let mut free = Vec::new();
        for (index, numbers) in constraints_of.iter().enumerate() {
            let value = self.values[index];
            for other in [value + Scalar::ONE, Scalar::ONE - value] {
                self.values[index] = other;
                let breaks = |number: &usize| !self.holds(&self.constraints[*number]);
                if other != value && !numbers.iter().any(breaks) {
                    free.push(self.names[index].clone());
                }
            }
            self.values[index] = value;
        }
        free.dedup();
        free
    }

    fn holds(&self, constraint: &Constraint) -> bool {
        let [a, b, c] = [&constraint.a, &constraint.b, &constraint.c].map(|terms| self.evaluate(terms));
        a * b == c
    }

    fn evaluate(&self, terms: &LinearCombination<Scalar>) -> Scalar {
        let value = |variable: Variable| match variable.get_unchecked() {
            Index::Input(_) => Scalar::ONE,
            Index::Aux(index) => self.values[index],
        };
        terms.iter().fold(Scalar::ZERO, |sum, (variable, weight)| sum + value(variable) * weight)
    }

    fn path(&self, name: String) -> String {
        let mut path = self.namespaces.clone();
        path.push(name);
        path.join("/")
    }
}

impl ConstraintSystem<Scalar> for Recorder {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, name: A, value: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let (name, index) = (self.path(name().into()), self.values.len());
        self.values.push(value()?);
        self.names.push(name.clone());
        assert_eq!(self.by_name.insert(name.clone(), index), None, "{name} is there twice");
        Ok(Variable::new_unchecked(Index::Aux(index)))
    }

    fn alloc_input<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        panic!("a step has no inputs of its own")
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, name: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        let zero = LinearCombination::zero;
        let (a, b, c) = (a(zero()), b(zero()), c(zero()));
        let name = self.path(name().into());
        self.constraints.push(Constraint { name, a, b, c });
    }

    fn push_namespace<NR, N>(&mut self, name: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
        self.namespaces.push(name().into());
    }

    fn pop_namespace(&mut self) {
        self.namespaces.pop();
    }

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}
