//! From measured points to a weight's function: a base, and so much for each unit of each parameter, that no point exceeds.
//!
//! The slopes are those of a plane through some of the points; the base is then the least with which every point is covered, so that a
//! cost that grows faster than linearly is covered between the points, too. Of all such planes it is the one that charges least more
//! than was measured: through points that lie close together, noise would tilt it. What is rendered is Rust for the body of the function.

use anyhow::{bail, ensure, Context, Result};
use frame_support::weights::{constants::ParityDbWeight, Weight};

/// What is charged of a measured time, and of a measured proof, in percent: for machines that are slower than ours, for the noise of the
/// measurement, and for state that is larger than a benchmark's. The one place where it stands.
pub(crate) const SAFETY_PERCENT: u64 = 150;

/// What one state costs, as it was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at: Vec<u32>,
    pub(crate) nanoseconds: u64,
    pub(crate) proof: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
}

impl Sample {
    /// The weight that covers it as it is: without a margin.
    pub(crate) fn weight(&self) -> Weight {
        Weight::from_parts(self.nanoseconds.saturating_mul(1_000), self.proof)
            .saturating_add(ParityDbWeight::get().reads_writes(self.reads, self.writes))
    }

    fn parts(&self) -> [u64; 4] {
        let safe = |value: u64| value.saturating_mul(SAFETY_PERCENT).div_ceil(100);
        // Picoseconds, to the microsecond above: the rest is noise.
        let time = safe(self.nanoseconds).div_ceil(1_000).saturating_mul(1_000_000);
        [time, safe(self.proof), self.reads, self.writes]
    }
}

/// Time in picoseconds, bytes of proof, reads, writes.
pub(crate) type Parts = [u64; 4];

/// A weight's function: the base, and what a unit of each parameter adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fitted {
    pub(crate) base: Parts,
    pub(crate) slopes: Vec<Parts>,
}

impl Fitted {
    /// # Errors
    /// When the samples do not say how the cost grows with each of `parameters` parameters.
    pub(crate) fn of(samples: &[Sample], parameters: usize) -> Result<Self> {
        let grouped = worst_of_each_place(samples, parameters)?;
        ensure!(grouped.len() > parameters, "{} places do not say what {parameters} parameters cost", grouped.len());
        let mut fitted = Self { base: [0; 4], slopes: vec![[0; 4]; parameters] };
        for part in 0..4 {
            let value = |(_, parts): &(Vec<u32>, Parts)| parts.get(part).copied().unwrap_or(0);
            let planes = subsets(grouped.len(), parameters.saturating_add(1)).into_iter().filter_map(|chosen| {
                let rows = chosen.iter().filter_map(|index| grouped.get(*index)).map(|place| {
                    let numbers = place.0.iter().map(|number| f64::from(*number));
                    std::iter::once(1.0).chain(numbers).chain([value(place) as f64]).collect()
                });
                let solved = solve(rows.collect()).ok()?;
                let slopes: Vec<u64> =
                    solved.iter().skip(1).map(|slope| (slope - 1e-6).max(0.0).ceil() as u64).collect();
                let grown = |place: &(Vec<u32>, Parts)| {
                    place.0.iter().zip(&slopes).fold(0u64, |sum, (number, slope)| {
                        sum.saturating_add(u64::from(*number).saturating_mul(*slope))
                    })
                };
                let base = grouped.iter().map(|place| value(place).saturating_sub(grown(place))).max().unwrap_or(0);
                let excess = |place: &(Vec<u32>, Parts)| {
                    let measured = value(place);
                    base.saturating_add(grown(place)).saturating_sub(measured) as f64 / measured.max(1) as f64
                };
                let excess: f64 = grouped.iter().map(excess).sum();
                Some((excess, base, slopes))
            });
            let least = planes.reduce(|least, next| if next.0 < least.0 { next } else { least });
            let (_, base, slopes) = least.context("no places differ in every parameter")?;
            if let Some(place) = fitted.base.get_mut(part) {
                *place = base;
            }
            for (of_parameter, slope) in fitted.slopes.iter_mut().zip(slopes) {
                if let Some(place) = of_parameter.get_mut(part) {
                    *place = slope;
                }
            }
        }
        Ok(fitted)
    }

    /// The body of the function with these parameters, without its braces.
    pub(crate) fn render(&self, parameters: &[String], note: &str) -> String {
        let mut body = format!("        // {note}\n        {}", term(&self.base, 12));
        for (parameter, slope) in parameters.iter().zip(&self.slopes) {
            let slope = term(slope, 20);
            body.push_str(&format!(
                "\n            .saturating_add(\n                {slope}\n                    .saturating_mul({parameter}.into()),\n            )"
            ));
        }
        body
    }
}

/// A weight in Rust; its second line, where something is read or written, is indented by so much.
fn term([time, proof, reads, writes]: &Parts, indentation: usize) -> String {
    let mut text = format!("Weight::from_parts({}, {})", separated(*time), separated(*proof));
    if (*reads, *writes) != (0, 0) {
        let indentation = " ".repeat(indentation);
        text.push_str(&format!(
            "\n{indentation}.saturating_add(ParityDbWeight::get().reads_writes({reads}, {writes}))"
        ));
    }
    text
}

/// A number with an underscore before every three digits.
fn separated(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// For each place that was measured, the most of each part, in the order in which places come.
fn worst_of_each_place(samples: &[Sample], parameters: usize) -> Result<Vec<(Vec<u32>, Parts)>> {
    let mut grouped: Vec<(Vec<u32>, Parts)> = Vec::new();
    for sample in samples {
        ensure!(sample.at.len() == parameters, "{:?} are not {parameters} arguments", sample.at);
        let parts = sample.parts();
        match grouped.iter_mut().find(|(at, _)| *at == sample.at) {
            Some((_, known)) => known.iter_mut().zip(parts).for_each(|(known, part)| *known = part.max(*known)),
            None => grouped.push((sample.at.clone(), parts)),
        }
    }
    Ok(grouped)
}

/// All choices of so many of the first `of` numbers.
fn subsets(of: usize, number: usize) -> Vec<Vec<usize>> {
    let mut chosen = vec![Vec::new()];
    for _ in 0..number {
        let extended = |set: &Vec<usize>| {
            let from = set.last().map_or(0, |last| last + 1);
            (from..of).map(|next| set.iter().copied().chain([next]).collect()).collect::<Vec<_>>()
        };
        chosen = chosen.iter().flat_map(extended).collect();
    }
    chosen
}

/// Solves linear equations, each a row of coefficients and the value, by elimination with the largest pivot.
fn solve(mut rows: Vec<Vec<f64>>) -> Result<Vec<f64>> {
    let number = rows.len();
    for column in 0..number {
        let size = |row: &Vec<f64>| row.get(column).map_or(0.0, |value| value.abs());
        let pivot = (column..number)
            .max_by(|one, other| {
                let of = |index: &usize| rows.get(*index).map_or(0.0, size);
                of(one).total_cmp(&of(other))
            })
            .unwrap_or(column);
        rows.swap(column, pivot);
        let Some(row) = rows.get(column).cloned() else { bail!("no row") };
        let Some(by) = row.get(column).copied().filter(|by| by.abs() > 1e-9) else {
            bail!("these places do not differ in every parameter")
        };
        let row: Vec<f64> = row.iter().map(|value| value / by).collect();
        for (index, other) in rows.iter_mut().enumerate() {
            if index == column {
                other.clone_from(&row);
                continue;
            }
            let factor = other.get(column).copied().unwrap_or(0.0);
            other.iter_mut().zip(&row).for_each(|(value, of_row)| *value -= factor * of_row);
        }
    }
    Ok(rows.iter().filter_map(|row| row.last().copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: &[u32], nanoseconds: u64, reads: u64) -> Sample {
        Sample { at: at.to_vec(), nanoseconds, proof: 10, reads, writes: 1 }
    }

    #[test]
    fn a_plane_is_found_again_with_the_margin() {
        let cost = |a: u32, b: u32| sample(&[a, b], u64::from(10_000 + 2_000 * a + 4_000 * b), u64::from(3 + a));
        let fitted = Fitted::of(&[cost(1, 0), cost(5, 0), cost(1, 9)], 2).unwrap();
        assert_eq!(fitted.base, [15_000_000, 15, 3, 1]);
        assert_eq!(fitted.slopes, [[3_000_000, 0, 1, 0], [6_000_000, 0, 0, 0]]);
    }

    #[test]
    fn noise_of_small_states_does_not_tilt_the_plane() {
        // One large thing measured a little too low: the plane through the three smallest states would need a base of four small things.
        let at = |count, bytes, nanoseconds| sample(&[count, bytes], nanoseconds, 1);
        let samples = [at(1, 1, 320_000), at(64, 64, 15_700_000), at(1, 16, 450_000), at(64, 1_024, 24_800_000)];
        let fitted = Fitted::of(&samples, 2).unwrap();
        assert!(fitted.base[0] < 500_000_000, "{fitted:?}");
        let charged =
            |[count, bytes]: [u64; 2]| fitted.base[0] + fitted.slopes[0][0] * count + fitted.slopes[1][0] * bytes;
        assert!(charged([64, 1_024]) <= 38_000_000_000, "{fitted:?}");
    }

    #[test]
    fn every_choice_is_tried_once() {
        assert_eq!(subsets(4, 2), [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]);
        assert_eq!(subsets(2, 3), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn no_sample_exceeds_what_was_fitted() {
        let samples =
            [sample(&[0], 1_000, 1), sample(&[0], 9_000, 0), sample(&[10], 2_000, 7), sample(&[5], 50_000, 9)];
        let fitted = Fitted::of(&samples, 1).unwrap();
        for sample in &samples {
            let number = u64::from(sample.at[0]);
            for (part, value) in sample.parts().into_iter().enumerate() {
                assert!(fitted.base[part] + fitted.slopes[0][part] * number >= value, "{part} of {sample:?}");
            }
        }
        assert_eq!(fitted.slopes[0][0], 0, "what falls with a parameter is no discount");
    }

    #[test]
    fn places_that_say_nothing_of_a_parameter_are_refused() {
        assert!(Fitted::of(&[sample(&[1], 1, 1)], 1).is_err());
        assert!(Fitted::of(&[sample(&[1, 2], 1, 1), sample(&[2, 4], 1, 1), sample(&[3, 6], 1, 1)], 2).is_err());
        assert!(Fitted::of(&[sample(&[1], 1, 1)], 0).is_err());
    }

    #[test]
    fn what_is_rendered_is_the_body_of_a_function() {
        let fitted = Fitted { base: [1_234_567, 0, 1, 2], slopes: vec![[5, 6, 0, 0]] };
        let expected = "        // Measured.\n        Weight::from_parts(1_234_567, 0)\n            \
            .saturating_add(ParityDbWeight::get().reads_writes(1, 2))\n            .saturating_add(\n                \
            Weight::from_parts(5, 6)\n                    .saturating_mul(seats.into()),\n            )";
        assert_eq!(fitted.render(&["seats".to_owned()], "Measured."), expected);
    }
}
