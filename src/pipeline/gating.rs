//! The gate of priors: whether what the map tells the model does any good.
//!
//! With right priors a model is surer; with wrong ones, and sometimes with right ones, it is worse
//! than with none. Every so many windows the model is asked twice, with and without, and both
//! answers are held against what the images and the map show; the mean of the differences decides.

use super::Pipeline;
use super::asking::{Question, Told, wrong_count};
use super::companions::Companions;
use super::inferring::Candidate;
use super::merging::{Comparison, Window};
use super::refine_job::{fixed_scale_cost, look_settings};
use super::scaling::RunningMean;
use crate::config::PriorUse;
use crate::dense_residual::Comparison as Residuals;
use crate::error::Result;
use crate::inference::Prediction;
use crate::keyframe::KeyframeId;
use crate::observer::{InferenceReport, PriorReport};
use crate::pointmap::Pointmap;
use crate::reference::select_points;

/// Each so many windows a prior is put to the test.
const TEST_EACH: usize = 4;
/// Points of a view that are looked up in others.
const POINTS: usize = 800;
/// Spread of the difference between two answers before any is known.
const PRIOR_SIGMA: f64 = 0.1;
/// A difference of depth by this share costs as much as an intensity off by its spread.
const DEPTH_FRAC: f64 = 0.05;

/// What is known of the use of a prior.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Gate {
    /// How much less an answer costs with the prior than without.
    gain: RunningMean,
}

impl Gate {
    /// Whether a prior is told: until the evidence is against it.
    fn is_open(&self, usage: PriorUse, closing_sigmas: f64) -> bool {
        match usage {
            PriorUse::Always => true,
            PriorUse::Never => false,
            PriorUse::Auto => {
                self.gain.count() < 1.0
                    || self.gain.mean() >= -closing_sigmas * self.gain.standard_error(PRIOR_SIGMA)
            }
        }
    }

    /// Whether an answer that costs less by `gain` than the other one of a test, and more where that
    /// is negative, is given up for it: where it is worse by more standard deviations of such a
    /// difference than a prior by its standard errors. What is chance at a single window must not
    /// stand above what all windows say.
    fn gives_up(&self, gain: f64, closing_sigmas: f64) -> bool {
        gain < -closing_sigmas * self.gain.sigma(PRIOR_SIGMA)
    }

    fn report(&self, usage: PriorUse, closing_sigmas: f64) -> PriorReport {
        PriorReport {
            is_told: self.is_open(usage, closing_sigmas),
            tests: self.gain.count() as usize,
            mean_gain: self.gain.mean(),
            gain_error: self.gain.standard_error(PRIOR_SIGMA),
        }
    }
}

/// The gates of both priors that the map gives.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Gates {
    depth: Gate,
    poses: Gate,
}

impl Pipeline {
    /// Returns what becomes of windows, where the model looks at several views.
    pub fn inference(&self) -> Option<InferenceReport> {
        let priors = &self.config.model.priors;
        let (merged, refused) = self.inferring.windows();
        (self.model.max_views() > 1).then(|| InferenceReport {
            merged,
            refused,
            most_views: self.most_views(),
            depth: self.inferring.gates.depth.report(priors.depth, priors.closing_sigmas),
            poses: self.inferring.gates.poses.report(priors.poses, priors.closing_sigmas),
        })
    }

    /// What the model is told beside images.
    pub(super) fn told(&self) -> Told {
        let (priors, gates) = (&self.config.model.priors, &self.inferring.gates);
        let sigmas = priors.closing_sigmas;
        let depth = gates.depth.is_open(priors.depth, sigmas);
        Told { depth, poses: gates.poses.is_open(priors.poses, sigmas) }
    }

    /// What is asked of a window: when a prior is due for a test, twice, with and without it.
    pub(super) fn questions(&self, candidate: Candidate<'_>, others: &Companions) -> Vec<Question> {
        let told = self.told();
        let all = std::iter::once(told).chain(self.due_test(candidate, others, told));
        all.map(|told| self.question(candidate, others, told)).collect()
    }

    /// What the model says of a window, as far as it is asked at once.
    pub(super) fn infer_gated(
        &mut self,
        candidate: Candidate<'_>,
        others: &Companions,
    ) -> Result<Window> {
        let questions = self.questions(candidate, others);
        let model = self.model.here()?;
        let answers = questions.iter().map(|question| question.put(model));
        let answers: Vec<Prediction> = answers.collect::<Result<_>>()?;
        self.weighed(candidate, &questions, answers)
    }

    /// What the answers to all questions of a window say: of two the one that is asked for anyway,
    /// unless the other agrees clearly better with the map; and the gate takes note.
    pub(super) fn weighed(
        &mut self,
        candidate: Candidate<'_>,
        questions: &[Question],
        answers: Vec<Prediction>,
    ) -> Result<Window> {
        let told: Vec<Told> = questions.iter().map(|question| question.told).collect();
        let heard = questions.iter().zip(answers).map(|(q, a)| self.heard(candidate, q, a));
        let mut windows: Vec<Window> = heard.collect::<Result<_>>()?;
        if let [window, other] = &windows[..]
            && let Some(cost) = self.cost(&candidate, window)
            && let Some(other_cost) = self.cost(&candidate, other)
            && self.note_test([told[0], told[1]], other_cost - cost)
        {
            windows.swap(0, 1);
        }
        let window = windows.into_iter().next().ok_or_else(|| wrong_count(1, 0))?;
        self.note_revisits(candidate, &window);
        Ok(window)
    }

    /// Takes note of how much less the first of two answers costs; returns whether it is to be given
    /// up for the other.
    fn note_test(&mut self, [told, other]: [Told; 2], gain: f64) -> bool {
        let closing_sigmas = self.config.model.priors.closing_sigmas;
        let gates = &mut self.inferring.gates;
        let (gate, is_told) = match told.depth == other.depth {
            true => (&mut gates.poses, told.poses),
            false => (&mut gates.depth, told.depth),
        };
        gate.gain.add(if is_told { gain } else { -gain }, PRIOR_SIGMA);
        gate.gives_up(gain, closing_sigmas)
    }

    /// What else the model is to be told for a test, the priors by turns.
    fn due_test(&self, candidate: Candidate<'_>, others: &Companions, told: Told) -> Option<Told> {
        let count = self.inferring.windows().0;
        // What the sensor measures stands above all answers.
        if candidate.frame.mean_depth_m.is_some()
            || others.covisible.is_empty()
            || !count.is_multiple_of(TEST_EACH)
        {
            return None;
        }
        let priors = &self.config.model.priors;
        let depth_is_due = (count / TEST_EACH).is_multiple_of(2);
        match depth_is_due {
            true if priors.depth == PriorUse::Auto => Some(Told { depth: !told.depth, ..told }),
            false if priors.poses == PriorUse::Auto => Some(Told { poses: !told.poses, ..told }),
            _ => None,
        }
    }

    /// How badly the newest view's geometry agrees with what older keyframes look like, and with
    /// where their surfaces are, at the tracked pose.
    fn cost(&self, candidate: &Candidate<'_>, window: &Window) -> Option<f64> {
        let scale = self.compare_pixels(window)?;
        let newest = window.newest.scaled(scale.log_scale.exp());
        let across = self.compare_across(candidate, &newest, window)?;
        let newest = newest.scaled(across.log_scale.exp());
        let by_look = self.look_cost(candidate, &newest, window)?;
        Some(by_look + depth_cost(&across))
    }

    fn look_cost(
        &self,
        candidate: &Candidate<'_>,
        newest: &Pointmap,
        window: &Window,
    ) -> Option<f64> {
        let level = candidate.frame.pyramid.levels().first()?;
        let points = select_points(level, newest, POINTS);
        let settings = look_settings(&self.config.sensor, &self.config.alignment);
        let cost = |id: KeyframeId| -> Option<f64> {
            let keyframe = self.map.get(id)?;
            let target = keyframe.pyramid.levels().first()?;
            let residuals = Residuals { points: &points, target, settings };
            let there = keyframe.world_from_camera.inv_mul(&candidate.world_from_camera);
            Some(fixed_scale_cost(&residuals, there)).filter(|cost| cost.is_finite())
        };
        let costs: Vec<f64> = window.others.iter().filter_map(|other| cost(other.id)).collect();
        (!costs.is_empty()).then(|| costs.iter().sum::<f64>() / costs.len() as f64)
    }
}

/// What depths that differ from the map's cost, as residuals would.
fn depth_cost(across: &Comparison) -> f64 {
    0.5 * (across.sigma_log / DEPTH_FRAC).powi(2).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_closes_when_a_prior_does_harm_and_opens_again() {
        let mut gate = Gate::default();
        assert!(gate.is_open(PriorUse::Auto, 1.0));
        gate.gain.add(-0.2, PRIOR_SIGMA);
        assert!(!gate.is_open(PriorUse::Auto, 1.0));
        assert!(gate.is_open(PriorUse::Always, 1.0));
        gate.gain.add(0.5, PRIOR_SIGMA);
        assert!(gate.is_open(PriorUse::Auto, 1.0));
        assert!(!gate.is_open(PriorUse::Never, 1.0));
        assert_eq!(gate.report(PriorUse::Auto, 1.0).tests, 2);
    }

    /// To take the better one of two answers that differ by chance is to throw away what is known.
    #[test]
    fn an_answer_is_given_up_only_where_it_is_worse_than_by_chance() {
        let mut gate = Gate::default();
        for i in 0..10 {
            gate.gain.add(if i % 2 == 0 { 0.3 } else { -0.1 }, PRIOR_SIGMA);
        }
        assert!(!gate.gives_up(-0.1, 1.0), "differences go up and down by 0.2");
        assert!(gate.gives_up(-0.3, 1.0) && !gate.gives_up(-0.3, 2.0));
        assert!(gate.gives_up(-0.01, 0.0));
    }

    #[test]
    fn a_single_answer_that_is_a_little_worse_closes_no_gate() {
        let mut gate = Gate::default();
        gate.gain.add(-0.05, PRIOR_SIGMA);
        assert!(gate.is_open(PriorUse::Auto, 1.0) && !gate.is_open(PriorUse::Auto, 0.0));
        for _ in 0..20 {
            gate.gain.add(-0.05, PRIOR_SIGMA);
        }
        assert!(!gate.is_open(PriorUse::Auto, 1.0), "by now it is sure");
    }
}
