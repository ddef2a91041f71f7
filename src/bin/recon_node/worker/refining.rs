//! Refinements of the whole map, while frames go on.

use super::Mapping;
use crate::node::NAME;
use crate::shared::Reply;

impl Mapping {
    /// Begins a refinement where it is time for one, and takes over one that is done.
    pub(super) fn follow_refinement(&mut self, now_secs: f64) {
        if self.session.refinement_is_due(now_secs) {
            self.refine(None);
        }
        let Some(finished) = self.session.finish_refinement() else { return };
        self.note_change();
        let told = finished.map(|refined| refined.to_string());
        match &told {
            Ok(text) => r2r::log_info!(NAME, "{text}"),
            Err(reason) => r2r::log_warn!(NAME, "the map was not refined: {reason}"),
        }
        if let Some(reply) = self.refinement_reply.take() {
            reply(told);
        }
    }

    pub(super) fn refine(&mut self, reply: Option<Reply>) {
        match (self.session.begin_refinement(), reply) {
            (Ok(count), reply) => {
                r2r::log_info!(NAME, "{count} keyframes are being refined");
                self.refinement_reply = reply;
            }
            (Err(reason), Some(reply)) => reply(Err(reason)),
            (Err(reason), None) => r2r::log_warn!(NAME, "the map is not refined: {reason}"),
        }
    }
}
