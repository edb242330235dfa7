//! Which constraints of a circuit an assignment breaks, exactly: a test that only asks whether all hold would not
//! notice that the one constraint that it is about is missing, as long as any other breaks too.

use ark_ff::PrimeField;
use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystem, R1CS_PREDICATE_LABEL, SynthesisError};

type Row<F> = [Vec<(F, usize)>; 3];

/// A circuit's constraints with what is assigned to its variables: 1, the public inputs, the witness.
pub struct Constraints<F: PrimeField> {
    rows: Vec<Row<F>>,
    assigned: Vec<F>,
    public_inputs: usize,
}

impl<F: PrimeField> Constraints<F> {
    pub fn of(circuit: impl ConstraintSynthesizer<F>) -> Result<Self, SynthesisError> {
        let system = ConstraintSystem::new_ref();
        circuit.generate_constraints(system.clone())?;
        system.finalize();
        let [a, b, c]: [_; 3] =
            system.to_matrices()?.remove(R1CS_PREDICATE_LABEL).unwrap().try_into().unwrap();
        let rows = a.into_iter().zip(b).zip(c).map(|((a, b), c)| [a, b, c]).collect();
        let public_inputs = system.num_instance_variables() - 1;
        let mut assigned = system.instance_assignment()?;
        assigned.extend(system.witness_assignment()?);
        Ok(Self { rows, assigned, public_inputs })
    }

    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// How many constraints do not hold.
    pub fn broken(&self) -> usize {
        self.rows.iter().filter(|row| !holds(self.sums(row))).count()
    }

    /// As [`Self::broken`], once each public input was set to what its own constraint asks for: what is left does not
    /// depend on what is claimed in public.
    pub fn broken_for_any_claim(mut self) -> usize {
        for input in 1..=self.public_inputs {
            let mut of_input = self.rows.iter().filter(|row| factor(&row[0], input) != F::ZERO);
            let (row, none) = (of_input.next().unwrap(), of_input.next());
            assert!(none.is_none(), "a public input stands in one constraint");
            let [sum, ..] = self.sums(row);
            let factor = factor(&row[0], input);
            self.assigned[input] -= sum / factor;
        }
        self.broken()
    }

    /// The variables that could be changed, alone, without breaking a constraint.
    pub fn unbound(&self) -> Vec<usize> {
        let sums: Vec<[F; 3]> = self.rows.iter().map(|row| self.sums(row)).collect();
        let mut places = vec![Vec::new(); self.assigned.len()];
        for (index, row) in self.rows.iter().enumerate() {
            for (side, terms) in row.iter().enumerate() {
                for (factor, variable) in terms {
                    places[*variable].push((index, side, *factor));
                }
            }
        }
        let bound = |variable: usize| {
            // A bit is flipped; anything else is moved by one.
            let change = if self.assigned[variable] == F::ONE { -F::ONE } else { F::ONE };
            // Places are in the order of rows.
            places[variable].chunk_by(|one, next| one.0 == next.0).any(|places| {
                let mut changed = sums[places[0].0];
                for (_, side, factor) in places {
                    changed[*side] += *factor * change;
                }
                !holds(changed)
            })
        };
        (1..self.assigned.len()).filter(|variable| !bound(*variable)).collect()
    }

    fn sums(&self, row: &Row<F>) -> [F; 3] {
        row.each_ref().map(|terms| {
            terms.iter().fold(F::ZERO, |sum, (factor, variable)| sum + *factor * self.assigned[*variable])
        })
    }
}

fn holds<F: PrimeField>([a, b, c]: [F; 3]) -> bool {
    a * b == c
}

fn factor<F: PrimeField>(terms: &[(F, usize)], variable: usize) -> F {
    terms.iter().filter(|term| term.1 == variable).fold(F::ZERO, |sum, term| sum + term.0)
}
