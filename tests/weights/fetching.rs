//! Fetching from a hub: whole, cut, damaged, refused, and not at all.

use std::fs;
use std::path::{Path, PathBuf};

use recon_node::error::Result;
use recon_node::model::weights::{self, Cache, KNOWN_MODELS, KnownModel, fetch, locate};
use tempfile::TempDir;

use crate::server::{COMMIT, Hub, SMALL_ETAG, Server, sha256};

const REPOSITORY: &str = "facebook/map-anything-apache";

/// A cache in a folder of its own, and what was said while fetching into it.
struct Local {
    folder: TempDir,
}

impl Local {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> Cache {
        Cache::new(self.folder.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("models--facebook--map-anything-apache").join(name)
    }

    fn fetch(&self, endpoint: &str) -> Result<PathBuf> {
        self.fetch_with(endpoint, &[])
    }

    fn fetch_with(&self, endpoint: &str, variables: &[(&str, &str)]) -> Result<PathBuf> {
        let hub = weights::Hub::from_vars(&|name| match name {
            "HF_ENDPOINT" => Some(endpoint.to_owned()),
            "HF_HOME" => Some(self.folder.path().display().to_string()),
            _ => variables.iter().find(|v| v.0 == name).map(|v| v.1.to_owned()),
        });
        fetch(&hub, &self.cache(), KnownModel::default_model(), "main", &mut |_| {})
    }

    fn failure(&self, endpoint: &str) -> String {
        self.fetch(endpoint).unwrap_err().to_string()
    }

    fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("blobs")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn assert_tells(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
}

fn assert_is_whole(folder: &Path, hub: &Hub) {
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), hub.config);
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == hub.tensors);
}

#[test]
fn what_is_fetched_lies_as_huggingface_hub_would_have_put_it() {
    let (local, hub) = (Local::new(), Hub::new());
    let (server, _storage) = hub.clone().start();
    let folder = local.fetch(&server.address).unwrap();
    assert_eq!(folder, local.path("snapshots").join(COMMIT));
    assert_is_whole(&folder, &hub);
    assert_eq!(fs::read_to_string(local.path("refs/main")).unwrap(), COMMIT);
    let sum = sha256(&hub.tensors);
    for (name, etag) in [("config.json", SMALL_ETAG), ("model.safetensors", &sum)] {
        let target = fs::read_link(folder.join(name)).unwrap();
        assert_eq!(target, Path::new("../../blobs").join(etag));
    }
    let mut expected = vec![SMALL_ETAG.to_owned(), sum];
    expected.sort();
    assert_eq!(local.blobs(), expected);
}

#[test]
fn what_is_here_is_not_asked_for_again() {
    let local = Local::new();
    let (server, storage) = Hub::new().start();
    let first = local.fetch(&server.address).unwrap();
    let count = server.requests().len() + storage.requests().len();
    assert_eq!(local.fetch(&server.address).unwrap(), first);
    assert_eq!(server.requests().len() + storage.requests().len(), count);
    assert_eq!(locate(REPOSITORY, &local.cache()).unwrap(), first);
    assert_eq!(locate("", &local.cache()).unwrap(), first);
}

#[test]
fn all_files_are_of_one_commit() {
    let local = Local::new();
    let (server, _storage) = Hub::new().start();
    local.fetch(&server.address).unwrap();
    let paths: Vec<String> = server.requests().into_iter().map(|r| r.path).collect();
    assert!(paths[0].contains("/resolve/main/config.json"), "{paths:?}");
    let later = paths.iter().filter(|path| path.ends_with("model.safetensors"));
    assert!(later.clone().count() > 0 && later.clone().all(|p| p.contains(COMMIT)), "{paths:?}");
}

#[test]
fn progress_only_grows_and_ends_at_the_whole() {
    let (local, hub) = (Local::new(), Hub { cut: Some(300_000), ..Hub::new() });
    let (server, _storage) = hub.clone().start();
    let endpoint = server.address.clone();
    let client = weights::Hub::from_vars(&|n| (n == "HF_ENDPOINT").then(|| endpoint.clone()));
    let mut told = Vec::new();
    let mut progress =
        |p: &weights::FetchProgress<'_>| told.push((p.file.to_owned(), p.done, p.total));
    fetch(&client, &local.cache(), KnownModel::default_model(), "main", &mut progress).unwrap();
    told.retain(|(file, ..)| file == "model.safetensors");
    let total = hub.tensors.len() as u64;
    assert!(told.windows(2).all(|w| w[0].1 <= w[1].1) && told.len() > 2);
    assert_eq!(told.last().map(|t| (t.1, t.2)), Some((total, total)));
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let (local, hub) = (Local::new(), Hub { cut: Some(300_000), ..Hub::new() });
    let (server, storage) = hub.clone().start();
    assert_is_whole(&local.fetch(&server.address).unwrap(), &hub);
    assert_eq!(storage.starts(), [0, 300_000, 600_000]);
}

#[test]
fn a_fetch_that_was_stopped_is_gone_on_with() {
    let (local, hub) = (Local::new(), Hub::new());
    let (server, storage) = hub.clone().start();
    let partial = local.path("blobs").join(format!("{}.incomplete", sha256(&hub.tensors)));
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &hub.tensors[..500_000]).unwrap();
    assert_is_whole(&local.fetch(&server.address).unwrap(), &hub);
    assert_eq!(storage.starts(), [500_000]);
    assert!(!partial.exists());
}

#[test]
fn a_server_that_knows_no_ranges_begins_anew() {
    let (local, hub) = (Local::new(), Hub { ignores_ranges: true, ..Hub::new() });
    let (server, _storage) = hub.clone().start();
    let partial = local.path("blobs").join(format!("{}.incomplete", sha256(&hub.tensors)));
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &hub.tensors[..500_000]).unwrap();
    assert_is_whole(&local.fetch(&server.address).unwrap(), &hub);
}

/// The beginning is of another file, or too much is there: neither may end up as weights.
#[test]
fn a_wrong_beginning_is_noticed() {
    for wrong in [vec![7; 1000], vec![7; 900_000]] {
        let (local, hub) = (Local::new(), Hub::new());
        let (server, _storage) = hub.clone().start();
        let partial = local.path("blobs").join(format!("{}.incomplete", sha256(&hub.tensors)));
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(&partial, &wrong).unwrap();
        let first = local.fetch(&server.address);
        if let Err(error) = &first {
            assert_tells(&error.to_string(), &["SHA-256", "run the command again"]);
        }
        assert_is_whole(&local.fetch(&server.address).unwrap(), &hub);
        assert_eq!(first.is_err(), wrong.len() == 1000);
    }
}

#[test]
fn damage_on_the_way_is_noticed_and_leaves_nothing() {
    let (local, hub) = (Local::new(), Hub { is_damaged: true, ..Hub::new() });
    let (server, _storage) = hub.clone().start();
    let message = local.failure(&server.address);
    assert_tells(&message, &["SHA-256", &sha256(&hub.tensors), "run the command again"]);
    assert_eq!(local.blobs(), [SMALL_ETAG]);
    assert!(locate(REPOSITORY, &local.cache()).is_err());
}

#[test]
fn a_token_is_shown_to_the_hub_and_to_nobody_else() {
    let (local, hub) = (Local::new(), Hub { token: Some("secret".to_owned()), ..Hub::new() });
    let (server, storage) = hub.clone().start();
    assert_tells(&local.failure(&server.address), &["access is refused", "HF_TOKEN"]);
    let folder = local.fetch_with(&server.address, &[("HF_TOKEN", "secret")]).unwrap();
    assert_is_whole(&folder, &hub);
    assert!(!storage.requests().is_empty());
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_token_that_was_stored_is_used() {
    let (local, hub) = (Local::new(), Hub { token: Some("stored".to_owned()), ..Hub::new() });
    let (server, _storage) = hub.clone().start();
    fs::write(local.folder.path().join("token"), "stored\n").unwrap();
    assert_is_whole(&local.fetch(&server.address).unwrap(), &hub);
}

#[test]
fn a_repository_that_was_renamed_is_followed() {
    let (local, hub) = (Local::new(), Hub::new());
    let (server, _storage) = hub.clone().start();
    let endpoint = server.address.clone();
    let client = weights::Hub::from_vars(&|n| (n == "HF_ENDPOINT").then(|| endpoint.clone()));
    let model = KnownModel::named("map-anything-v1").unwrap();
    let folder = fetch(&client, &local.cache(), model, "main", &mut |_| {}).unwrap();
    assert_is_whole(&folder, &hub);
}

/// What each way of failing must say beside the files, the address and the folder.
#[test]
fn without_the_hub_the_message_says_which_files_to_put_where() {
    let closed = Server::start(|_| unreachable!()).address.clone();
    let (lacking, _storage) =
        Hub { lacks: Some("model.safetensors".to_owned()), ..Hub::new() }.start();
    /// The hub, variables of the environment, and why nothing comes from it.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 3] = [
        (&closed, &[], "cannot be fetched"),
        (&lacking.address, &[("HF_HUB_OFFLINE", "1")], "HF_HUB_OFFLINE is set"),
        (&lacking.address, &[], "there is no such file"),
    ];
    for (endpoint, variables, why) in cases {
        let local = Local::new();
        let message = local.fetch_with(endpoint, variables).unwrap_err().to_string();
        let folder = local.path("snapshots/main");
        let address = format!("{endpoint}/{REPOSITORY}/resolve/main/");
        let parts = ["config.json and model.safetensors", why, &address, "by hand"];
        assert_tells(&message, &parts);
        assert!(message.starts_with(&folder.display().to_string()), "{message}");
        assert_eq!(message.lines().count(), 1);
        // Who does as told has weights.
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        assert!(locate(REPOSITORY, &local.cache()).is_err());
        fs::write(folder.join("model.safetensors"), "x").unwrap();
        assert_eq!(locate(REPOSITORY, &local.cache()).unwrap(), folder);
    }
}

#[test]
fn offline_means_that_nobody_is_asked() {
    let local = Local::new();
    let (server, _storage) = Hub::new().start();
    for value in ["1", "true", "ON", "Yes"] {
        assert!(local.fetch_with(&server.address, &[("HF_HUB_OFFLINE", value)]).is_err());
    }
    assert!(server.requests().is_empty());
    local.fetch_with(&server.address, &[("HF_HUB_OFFLINE", "0")]).unwrap();
}

#[test]
fn a_name_from_the_hub_cannot_leave_the_cache() {
    let local = Local::new();
    let etag = Some("../../../../etc/passwd".to_owned());
    let (server, _storage) = Hub { strange_etag: etag, ..Hub::new() }.start();
    assert_tells(&local.failure(&server.address), &["entity tag"]);
    assert_eq!(local.blobs(), Vec::<String>::new());
}

#[test]
fn two_programs_do_not_write_one_file() {
    let (local, hub) = (Local::new(), Hub::new());
    let (server, _storage) = hub.clone().start();
    let locks = local.folder.path().join(".locks/models--facebook--map-anything-apache");
    fs::create_dir_all(&locks).unwrap();
    let lock = fs::File::create(locks.join(format!("{}.lock", sha256(&hub.tensors)))).unwrap();
    lock.lock().unwrap();
    assert_tells(&local.failure(&server.address), &["another program", "wait"]);
    drop(lock);
    assert_is_whole(&local.fetch(&server.address).unwrap(), &hub);
}

#[test]
fn the_cache_is_where_huggingface_hub_has_it() {
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h"), ("HOME", "/u")], "/c"),
        (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/u")], "/h/hub"),
        (&[("XDG_CACHE_HOME", "/x"), ("HOME", "/u")], "/x/huggingface/hub"),
        (&[("HOME", "/u")], "/u/.cache/huggingface/hub"),
        (&[], "./.cache/huggingface/hub"),
    ];
    for (variables, expected) in cases {
        let variable = |name: &str| variables.iter().find(|v| v.0 == name).map(|v| v.1.to_owned());
        assert_eq!(Cache::from_vars(&variable), Cache::new(expected), "{variables:?}");
    }
}

#[test]
fn a_licence_without_commercial_use_must_be_named() {
    assert_eq!(KnownModel::default_model().license.id, "apache-2.0");
    for model in &KNOWN_MODELS {
        let is_free = model.repository.contains("apache");
        assert_eq!(model.check_license(None).is_ok(), is_free, "{}", model.repository);
        assert_eq!(model.check_license(Some("apache-2.0")).is_ok(), is_free);
        assert!(model.check_license(Some("CC-BY-NC-4.0")).is_ok());
    }
    let message = KNOWN_MODELS[2].check_license(None).unwrap_err().to_string();
    assert_tells(&message, &["cc-by-nc-4.0", "no commercial use", "--accept-license", "apache"]);
}

#[test]
fn what_is_not_here_is_told_with_the_command_that_brings_it() {
    let local = Local::new();
    let folder = local.folder.path().display().to_string();
    let cases: [(&str, &[&str]); 4] = [
        ("", &["recon weights fetch facebook/map-anything-apache", "--weights DIR"]),
        ("map-anything", &["recon weights fetch facebook/map-anything'"]),
        ("/nowhere/at/all", &["/nowhere/at/all", "no such folder", "recon weights list"]),
        (&folder, &["no weights are in this folder", "config.json"]),
    ];
    for (named, parts) in cases {
        assert_tells(&locate(named, &local.cache()).unwrap_err().to_string(), parts);
    }
}
