//! The services and the topic of a managed node.

use r2r::lifecycle_msgs::msg::{State, Transition, TransitionDescription, TransitionEvent};
use r2r::lifecycle_msgs::srv::{
    ChangeState, GetAvailableStates, GetAvailableTransitions, GetState,
};
use r2r::{Node, Publisher, QosProfile, ServiceRequest};
use recon_node::ros::lifecycle::{self, Lifecycle, OUTCOMES, Outcome, REQUESTS};

use crate::mailbox::{Requests, service};
use crate::services::tell;

/// The services, and the state they are about.
pub struct LifecycleServices {
    /// The state.
    pub life: Lifecycle,
    events: Publisher<TransitionEvent>,
    change: Requests<ChangeState::Service>,
    state: Requests<GetState::Service>,
    states: Requests<GetAvailableStates::Service>,
    transitions: Requests<GetAvailableTransitions::Service>,
    graph: Requests<GetAvailableTransitions::Service>,
}

impl LifecycleServices {
    /// Returns the services.
    pub fn new(node: &mut Node) -> r2r::Result<Self> {
        Ok(Self {
            life: Lifecycle::default(),
            events: node.create_publisher("~/transition_event", QosProfile::default())?,
            change: service(node, "~/change_state")?,
            state: service(node, "~/get_state")?,
            states: service(node, "~/get_available_states")?,
            transitions: service(node, "~/get_available_transitions")?,
            graph: service(node, "~/get_transition_graph")?,
        })
    }

    /// Returns the next request for a transition.
    pub fn take_change(&mut self) -> Option<ServiceRequest<ChangeState::Service>> {
        self.change.take()
    }

    /// Answers the questions that have come.
    pub fn serve(&mut self) {
        while let Some(request) = self.state.take() {
            let current_state = state_message(self.life.state());
            tell(request.respond(GetState::Response { current_state }));
        }
        while let Some(request) = self.states.take() {
            let available_states = lifecycle::State::ALL.map(state_message).to_vec();
            tell(request.respond(GetAvailableStates::Response { available_states }));
        }
        while let Some(request) = self.transitions.take() {
            let available_transitions = self.life.available().map(description).collect();
            tell(request.respond(GetAvailableTransitions::Response { available_transitions }));
        }
        while let Some(request) = self.graph.take() {
            let all = REQUESTS.iter().chain(&OUTCOMES).copied();
            let available_transitions = all.map(description).collect();
            tell(request.respond(GetAvailableTransitions::Response { available_transitions }));
        }
    }

    /// Begins a transition; `None` where it may not be asked for now.
    pub fn begin(&mut self, id: u8, label: &str) -> Option<lifecycle::Transition> {
        let begun = self.life.begin(id, label)?;
        self.publish(begun);
        Some(begun)
    }

    /// Ends the work that the state is about.
    pub fn finish(&mut self, outcome: Outcome) {
        if let Some(taken) = self.life.finish(outcome) {
            self.publish(taken);
        }
    }

    fn publish(&self, transition: lifecycle::Transition) {
        tell(self.events.publish(&TransitionEvent {
            timestamp: 0,
            transition: transition_message(transition),
            start_state: state_message(transition.start),
            goal_state: state_message(transition.goal),
        }));
    }
}

fn state_message(state: lifecycle::State) -> State {
    State { id: state.id(), label: state.label().to_owned() }
}

fn transition_message(transition: lifecycle::Transition) -> Transition {
    Transition { id: transition.id, label: transition.label.to_owned() }
}

fn description(transition: lifecycle::Transition) -> TransitionDescription {
    TransitionDescription {
        transition: transition_message(transition),
        start_state: state_message(transition.start),
        goal_state: state_message(transition.goal),
    }
}
