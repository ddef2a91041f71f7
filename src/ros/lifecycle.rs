//! The states of a managed node and the ways between them, as `lifecycle_msgs` numbers them.

/// A state, resting or in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is loaded.
    Unconfigured,
    /// The model is loaded, nothing is subscribed.
    Inactive,
    /// At work.
    Active,
    /// At the end.
    Finalized,
    /// On the way to inactive from unconfigured.
    Configuring,
    /// On the way to unconfigured.
    CleaningUp,
    /// On the way to the end.
    ShuttingDown,
    /// On the way to active.
    Activating,
    /// On the way to inactive from active.
    Deactivating,
    /// After an error.
    ErrorProcessing,
}

impl State {
    /// All states.
    pub const ALL: [Self; 10] = [
        Self::Unconfigured,
        Self::Inactive,
        Self::Active,
        Self::Finalized,
        Self::Configuring,
        Self::CleaningUp,
        Self::ShuttingDown,
        Self::Activating,
        Self::Deactivating,
        Self::ErrorProcessing,
    ];

    /// Returns the number of `lifecycle_msgs/State`.
    pub fn id(self) -> u8 {
        match self {
            Self::Unconfigured => 1,
            Self::Inactive => 2,
            Self::Active => 3,
            Self::Finalized => 4,
            Self::Configuring => 10,
            Self::CleaningUp => 11,
            Self::ShuttingDown => 12,
            Self::Activating => 13,
            Self::Deactivating => 14,
            Self::ErrorProcessing => 15,
        }
    }

    /// Returns the name that tools show.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unconfigured => "unconfigured",
            Self::Inactive => "inactive",
            Self::Active => "active",
            Self::Finalized => "finalized",
            Self::Configuring => "configuring",
            Self::CleaningUp => "cleaningup",
            Self::ShuttingDown => "shuttingdown",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::ErrorProcessing => "errorprocessing",
        }
    }
}

/// One way from a state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Number of `lifecycle_msgs/Transition`.
    pub id: u8,
    /// Name of the transition.
    pub label: &'static str,
    /// Where it begins.
    pub start: State,
    /// Where it leads.
    pub goal: State,
}

const fn way(id: u8, label: &'static str, start: State, goal: State) -> Transition {
    Transition { id, label, start, goal }
}

/// Those that a caller may ask for.
pub const REQUESTS: [Transition; 7] = [
    way(1, "configure", State::Unconfigured, State::Configuring),
    way(2, "cleanup", State::Inactive, State::CleaningUp),
    way(3, "activate", State::Inactive, State::Activating),
    way(4, "deactivate", State::Active, State::Deactivating),
    way(5, "shutdown", State::Unconfigured, State::ShuttingDown),
    way(6, "shutdown", State::Inactive, State::ShuttingDown),
    way(7, "shutdown", State::Active, State::ShuttingDown),
];

/// Those that follow of themselves.
pub const OUTCOMES: [Transition; 17] = [
    way(10, "transition_success", State::Configuring, State::Inactive),
    way(11, "transition_failure", State::Configuring, State::Unconfigured),
    way(12, "transition_error", State::Configuring, State::ErrorProcessing),
    way(20, "transition_success", State::CleaningUp, State::Unconfigured),
    way(21, "transition_failure", State::CleaningUp, State::Inactive),
    way(22, "transition_error", State::CleaningUp, State::ErrorProcessing),
    way(30, "transition_success", State::Activating, State::Active),
    way(31, "transition_failure", State::Activating, State::Inactive),
    way(32, "transition_error", State::Activating, State::ErrorProcessing),
    way(40, "transition_success", State::Deactivating, State::Inactive),
    way(41, "transition_failure", State::Deactivating, State::Active),
    way(42, "transition_error", State::Deactivating, State::ErrorProcessing),
    way(50, "transition_success", State::ShuttingDown, State::Finalized),
    way(51, "transition_failure", State::ShuttingDown, State::Finalized),
    way(52, "transition_error", State::ShuttingDown, State::ErrorProcessing),
    way(60, "transition_success", State::ErrorProcessing, State::Unconfigured),
    way(61, "transition_failure", State::ErrorProcessing, State::Finalized),
];

/// How the work of a transition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It could not be done, and nothing has changed.
    Failure,
    /// It went wrong half way.
    Error,
}

/// The state that a node is in.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    state: State,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { state: State::Unconfigured }
    }
}

impl Lifecycle {
    /// Returns the state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the transitions that may be asked for now.
    pub fn available(&self) -> impl Iterator<Item = Transition> {
        let state = self.state;
        REQUESTS.into_iter().filter(move |transition| transition.start == state)
    }

    /// Begins the transition of a number, or of a name where the number is 0; `None` where it is
    /// not one that may be asked for now.
    pub fn begin(&mut self, id: u8, label: &str) -> Option<Transition> {
        let named = |t: &Transition| {
            if id == 0 { t.label == label } else { t.id == id }
        };
        let transition = self.available().find(named)?;
        self.state = transition.goal;
        Some(transition)
    }

    /// Ends the work that the state is about; returns the way that was taken.
    pub fn finish(&mut self, outcome: Outcome) -> Option<Transition> {
        let offset = match outcome {
            Outcome::Success => 0,
            Outcome::Failure => 1,
            Outcome::Error => 2,
        };
        let ways = OUTCOMES.iter().filter(|transition| transition.start == self.state);
        let taken = ways.copied().find(|transition| transition.id % 10 == offset)?;
        self.state = taken.goal;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_goes_through_all_states() {
        let mut life = Lifecycle::default();
        let steps = [
            (1, "", Outcome::Failure, State::Unconfigured),
            (1, "", Outcome::Success, State::Inactive),
            (0, "activate", Outcome::Success, State::Active),
            (4, "", Outcome::Success, State::Inactive),
            (2, "", Outcome::Success, State::Unconfigured),
            (1, "", Outcome::Success, State::Inactive),
            (0, "shutdown", Outcome::Success, State::Finalized),
        ];
        for (id, label, outcome, expected) in steps {
            assert!(life.begin(id, label).is_some(), "{id} {label}");
            assert!(life.begin(id, label).is_none(), "twice at once");
            life.finish(outcome).unwrap();
            assert_eq!(life.state(), expected);
        }
        assert_eq!(life.available().count(), 0);
    }

    #[test]
    fn what_is_not_on_the_way_is_refused() {
        let mut life = Lifecycle::default();
        for (id, label) in [(3, ""), (4, ""), (2, ""), (6, ""), (99, ""), (0, "activate"), (0, "")]
        {
            assert!(life.begin(id, label).is_none(), "{id} {label}");
            assert_eq!(life.state(), State::Unconfigured);
        }
        assert!(life.finish(Outcome::Success).is_none());
    }

    #[test]
    fn errors_go_through_error_processing() {
        let mut life = Lifecycle::default();
        life.begin(1, "").unwrap();
        assert_eq!(life.finish(Outcome::Error).unwrap().goal, State::ErrorProcessing);
        assert_eq!(life.finish(Outcome::Success).unwrap().goal, State::Unconfigured);
        life.begin(1, "").unwrap();
        life.finish(Outcome::Error).unwrap();
        assert_eq!(life.finish(Outcome::Failure).unwrap().goal, State::Finalized);
    }

    #[test]
    fn numbers_and_names_are_unique() {
        let ids: std::collections::BTreeSet<u8> =
            REQUESTS.iter().chain(&OUTCOMES).map(|transition| transition.id).collect();
        assert_eq!(ids.len(), REQUESTS.len() + OUTCOMES.len());
        let labels: std::collections::BTreeSet<&str> =
            State::ALL.iter().map(|s| s.label()).collect();
        assert_eq!(labels.len(), State::ALL.len());
    }
}
