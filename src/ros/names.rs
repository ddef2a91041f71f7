//! Names of topics after remapping, for questions to the middleware about them.

/// The remapping rules of a command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Remappings {
    rules: Vec<(String, String)>,
}

impl Remappings {
    /// Returns the rules after `-r` and `--remap` among a program's arguments.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Self {
        let args: Vec<String> = args.into_iter().collect();
        let rules = args
            .windows(2)
            .filter(|pair| pair[0] == "-r" || pair[0] == "--remap")
            .filter_map(|pair| pair[1].split_once(":="))
            // A rule may be meant for one node: its name and a colon come first.
            .map(|(from, to)| (from.rsplit(':').next().unwrap_or(from).to_owned(), to.to_owned()))
            .collect();
        Self { rules }
    }

    /// Returns the full name of a topic of a node in `namespace`.
    pub fn resolve(&self, name: &str, namespace: &str) -> String {
        let full = expand(name, namespace);
        let rule = self.rules.iter().find(|(from, _)| expand(from, namespace) == full);
        rule.map_or(full, |(_, to)| expand(to, namespace))
    }
}

fn expand(name: &str, namespace: &str) -> String {
    match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("{}/{name}", namespace.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_as_the_middleware_does() {
        let args = "--ros-args -r image:=/cam/color -r depth:=aligned --remap recon_node:odom:=wheel -r __ns:=/robot";
        let remappings = Remappings::from_args(args.split(' ').map(str::to_owned));
        let cases = [
            ("image", "/", "/cam/color"),
            ("depth", "/robot", "/robot/aligned"),
            ("odom", "/", "/wheel"),
            ("camera_info", "/robot", "/robot/camera_info"),
            ("/tf", "/robot", "/tf"),
        ];
        for (name, namespace, expected) in cases {
            assert_eq!(remappings.resolve(name, namespace), expected);
        }
    }
}
