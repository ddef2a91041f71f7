//! The parameter services, with descriptions and ranges, which r2r's own do not give.

use std::sync::PoisonError;

use r2r::rcl_interfaces::msg::{
    FloatingPointRange, IntegerRange, ListParametersResult, Parameter, ParameterDescriptor,
    ParameterEvent, ParameterValue, SetParametersResult,
};
use r2r::rcl_interfaces::srv::{
    DescribeParameters, GetParameterTypes, GetParameters, ListParameters, SetParameters,
    SetParametersAtomically,
};
use r2r::{Node, Publisher, QosProfile};
use recon_node::ros::parameters::{Descriptor, Kind, Settings};
use recon_node::stamp::Stamp;
use serde_json::Value;

use crate::convert;
use crate::mailbox::{Requests, service};
use crate::services::tell;

const USE_SIM_TIME: &str = "use_sim_time";

/// The parameters of the node and their services.
pub struct Parameters {
    settings: Settings,
    use_sim_time: bool,
    descriptors: Vec<Descriptor>,
    full_name: String,
    events: Publisher<ParameterEvent>,
    set: Requests<SetParameters::Service>,
    set_atomically: Requests<SetParametersAtomically::Service>,
    get: Requests<GetParameters::Service>,
    list: Requests<ListParameters::Service>,
    describe: Requests<DescribeParameters::Service>,
    types: Requests<GetParameterTypes::Service>,
}

impl Parameters {
    /// Returns the parameters with the values that the node was started with.
    ///
    /// # Errors
    /// Where a value is not accepted; the message says why.
    pub fn new(node: &mut Node) -> anyhow::Result<Self> {
        let mut settings = Settings::default();
        let mut use_sim_time = false;
        let given = given(node);
        for (name, value) in given {
            match (name.as_str(), &value) {
                (USE_SIM_TIME, Value::Bool(wanted)) => use_sim_time = *wanted,
                (USE_SIM_TIME, _) => {
                    anyhow::bail!("parameter use_sim_time: expected true or false")
                }
                (name, _) if name.starts_with("qos_overrides.") => {}
                _ => settings.preset(&name, value).map_err(anyhow::Error::msg)?,
            }
        }
        if use_sim_time {
            node.get_time_source().enable_sim_time(node)?;
        }
        let profile = QosProfile::default().keep_last(1000);
        Ok(Self {
            descriptors: descriptors(&settings),
            settings,
            use_sim_time,
            full_name: node.fully_qualified_name()?,
            events: node.create_publisher("/parameter_events", profile)?,
            set: service(node, "~/set_parameters")?,
            set_atomically: service(node, "~/set_parameters_atomically")?,
            get: service(node, "~/get_parameters")?,
            list: service(node, "~/list_parameters")?,
            describe: service(node, "~/describe_parameters")?,
            types: service(node, "~/get_parameter_types")?,
        })
    }

    /// Returns the values.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Answers what has come; returns whether a value has changed.
    pub fn serve(&mut self, ros_now: Stamp) -> bool {
        let before = self.settings.clone();
        while let Some(request) = self.set.take() {
            let results =
                request.message.parameters.iter().map(|p| self.set_all(std::slice::from_ref(p)));
            let results = results.collect();
            tell(request.respond(SetParameters::Response { results }));
        }
        while let Some(request) = self.set_atomically.take() {
            let result = self.set_all(&request.message.parameters);
            tell(request.respond(SetParametersAtomically::Response { result }));
        }
        self.answer();
        let changed = self.settings != before;
        if changed {
            self.publish_event(&before, ros_now);
        }
        changed
    }

    fn answer(&mut self) {
        while let Some(request) = self.get.take() {
            let values = request.message.names.iter().map(|name| self.message(name)).collect();
            tell(request.respond(GetParameters::Response { values }));
        }
        while let Some(request) = self.types.take() {
            let names = request.message.names.iter();
            let types = names.map(|name| self.message(name).type_).collect();
            tell(request.respond(GetParameterTypes::Response { types }));
        }
        while let Some(request) = self.describe.take() {
            let names = request.message.names.iter();
            let descriptors = names.map(|name| self.descriptor(name)).collect();
            tell(request.respond(DescribeParameters::Response { descriptors }));
        }
        while let Some(request) = self.list.take() {
            let result = self.listed(&request.message);
            tell(request.respond(ListParameters::Response { result }));
        }
    }

    /// Sets all or none.
    fn set_all(&mut self, parameters: &[Parameter]) -> SetParametersResult {
        let mut settings = self.settings.clone();
        for parameter in parameters {
            let outcome = match (parameter.name.as_str(), value(&parameter.value)) {
                (USE_SIM_TIME, Some(Value::Bool(wanted))) if wanted == self.use_sim_time => Ok(()),
                (USE_SIM_TIME, _) => Err(format!("'{USE_SIM_TIME}' is read when the node starts")),
                (name, Some(value)) => settings.set(name, value),
                (name, None) => Err(format!("'{name}': a value of this type is not accepted")),
            };
            if let Err(reason) = outcome {
                return SetParametersResult { successful: false, reason };
            }
        }
        self.settings = settings;
        SetParametersResult { successful: true, reason: String::new() }
    }

    fn message(&self, name: &str) -> ParameterValue {
        match self.settings.get(name) {
            _ if name == USE_SIM_TIME => message_of(&Value::Bool(self.use_sim_time)),
            Some(value) => message_of(&value),
            None => ParameterValue::default(),
        }
    }

    fn descriptor(&self, name: &str) -> ParameterDescriptor {
        let found = self.descriptors.iter().find(|descriptor| descriptor.name == name);
        found.map_or_else(
            || ParameterDescriptor { name: name.to_owned(), ..Default::default() },
            descriptor_message,
        )
    }

    fn listed(&self, request: &ListParameters::Request) -> ListParametersResult {
        let depth = request.depth as usize;
        let is_shallow = |rest: &str| depth == 0 || rest.matches('.').count() < depth;
        let is_wanted = |name: &str| {
            let below = |prefix: &String| {
                name == prefix
                    || name
                        .strip_prefix(prefix.as_str())
                        .and_then(|rest| rest.strip_prefix('.'))
                        .is_some_and(is_shallow)
            };
            match request.prefixes.is_empty() {
                true => is_shallow(name),
                false => request.prefixes.iter().any(below),
            }
        };
        let names = self.descriptors.iter().map(|descriptor| descriptor.name.clone());
        let names: Vec<String> = names.filter(|name| is_wanted(name)).collect();
        let prefix = |name: &String| name.rsplit_once('.').map(|(prefix, _)| prefix.to_owned());
        let mut prefixes: Vec<String> = names.iter().filter_map(prefix).collect();
        prefixes.dedup();
        ListParametersResult { names, prefixes }
    }

    fn publish_event(&self, before: &Settings, ros_now: Stamp) {
        let names = self.descriptors.iter().map(|descriptor| &descriptor.name);
        let changed = names.filter(|name| before.get(name) != self.settings.get(name));
        let changed_parameters = changed
            .map(|name| Parameter { name: name.clone(), value: self.message(name) })
            .collect();
        tell(self.events.publish(&ParameterEvent {
            stamp: convert::time(ros_now),
            node: self.full_name.clone(),
            changed_parameters,
            ..Default::default()
        }));
    }
}

fn descriptors(settings: &Settings) -> Vec<Descriptor> {
    let mut descriptors = settings.descriptors();
    descriptors.push(Descriptor {
        name: USE_SIM_TIME.to_owned(),
        description: "Whether time is that of /clock.".to_owned(),
        kind: Kind::Bool,
        range: None,
        read_only: true,
        constraints: String::new(),
    });
    descriptors
}

/// What the command line and files of parameters say, in a stable order.
fn given(node: &Node) -> Vec<(String, Value)> {
    use r2r::ParameterValue::{Bool, Double, Integer, String as Text};
    let params = node.params.lock().unwrap_or_else(PoisonError::into_inner);
    let mut given: Vec<(String, Value)> = params
        .iter()
        .map(|(name, parameter)| {
            let value = match &parameter.value {
                Bool(value) => Value::from(*value),
                Integer(value) => Value::from(*value),
                Double(value) => Value::from(*value),
                Text(value) => Value::from(value.as_str()),
                _ => Value::Null,
            };
            (name.clone(), value)
        })
        .collect();
    given.sort_by(|a, b| a.0.cmp(&b.0));
    given
}

fn kind_id(kind: Kind) -> u8 {
    match kind {
        Kind::Bool => 1,
        Kind::Integer => 2,
        Kind::Double => 3,
        Kind::Text => 4,
    }
}

fn descriptor_message(descriptor: &Descriptor) -> ParameterDescriptor {
    let mut message = ParameterDescriptor {
        name: descriptor.name.clone(),
        type_: kind_id(descriptor.kind),
        description: descriptor.description.clone(),
        additional_constraints: descriptor.constraints.clone(),
        read_only: descriptor.read_only,
        ..Default::default()
    };
    if let Some((least, most)) = descriptor.range {
        if descriptor.kind == Kind::Integer {
            let (from_value, to_value) = (least as i64, most as i64);
            message.integer_range = vec![IntegerRange { from_value, to_value, step: 0 }];
        } else {
            let (from_value, to_value) = (least, most);
            message.floating_point_range =
                vec![FloatingPointRange { from_value, to_value, step: 0.0 }];
        }
    }
    message
}

fn value(message: &ParameterValue) -> Option<Value> {
    match message.type_ {
        1 => Some(Value::from(message.bool_value)),
        2 => Some(Value::from(message.integer_value)),
        3 => Some(Value::from(message.double_value)),
        4 => Some(Value::from(message.string_value.as_str())),
        _ => None,
    }
}

fn message_of(value: &Value) -> ParameterValue {
    let mut message = ParameterValue::default();
    match value {
        Value::Bool(value) => (message.type_, message.bool_value) = (1, *value),
        Value::Number(value) if value.is_f64() => {
            (message.type_, message.double_value) = (3, value.as_f64().unwrap_or_default());
        }
        Value::Number(value) => {
            (message.type_, message.integer_value) = (2, value.as_i64().unwrap_or(i64::MAX));
        }
        Value::String(value) => (message.type_, message.string_value) = (4, value.clone()),
        _ => {}
    }
    message
}
