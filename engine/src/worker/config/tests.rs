//! What the command line may say, and what is refused.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn arguments(more: &[&str]) -> Arguments {
    let cpu = host::allowed_cpus()[0].to_string();
    let mut given = vec![
        "faasflow-worker",
        "--listen=127.0.0.1:0",
        "--memory=64M",
        "--functions=/",
    ];
    let cpus = format!("--cpus={cpu}");
    given.push(&cpus);
    given.extend(["--name=a", "--state-dir=/nowhere"]);
    // Later flags replace earlier ones, so that a test names only what it is about.
    given.retain(|flag| {
        !more
            .iter()
            .any(|m| m.split('=').next() == flag.split('=').next())
    });
    given.extend(more);
    Arguments::try_parse_from(given).unwrap()
}

fn refused(more: &[&str]) -> ConfigError {
    Config::check(arguments(more)).unwrap_err()
}

#[test]
fn the_contract_s_flags_are_understood() {
    let config = Config::check(arguments(&[
        "--wait=spin",
        "--executors=same",
        "--driver=epoll",
        "--huge-pages=reserved",
    ]))
    .unwrap();
    assert_eq!(config.huge_pages, HugePages::Reserved);
    assert_eq!(
        (config.wait, config.executors),
        (WaitStrategy::Spin, ExecutorPlacement::Same)
    );
    assert_eq!((config.lanes, config.driver), (1, DriverChoice::Epoll));
    assert_eq!(config.memory_bytes, 64 << 20);
    assert!(!config.key.is_some());
}

#[test]
fn a_missing_flag_is_an_error_of_usage() {
    let error = Arguments::try_parse_from(["faasflow-worker", "--listen=127.0.0.1:0"]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--functions"), "{error}");
}

#[test]
fn an_address_beyond_loopback_needs_a_key() {
    assert!(matches!(
        refused(&["--listen=0.0.0.0:0"]),
        ConfigError::NoKey { .. }
    ));
    assert!(matches!(
        refused(&["--listen=[::]:0"]),
        ConfigError::NoKey { .. }
    ));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [7; 32]).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let key = format!("--cluster-key-file={}", file.path().display());
    assert!(
        Config::check(arguments(&["--listen=0.0.0.0:0", &key]))
            .unwrap()
            .key
            .is_some()
    );
    assert!(matches!(
        refused(&["--cluster-key-file=/nowhere/key"]),
        ConfigError::Key(_)
    ));
}

#[test]
fn what_the_host_does_not_have_is_refused_by_name() {
    assert!(matches!(
        refused(&["--cpus=4095"]),
        ConfigError::CpuMissing { cpu: 4095, .. }
    ));
    assert!(matches!(
        refused(&["--cpus=x"]),
        ConfigError::CpuList { .. }
    ));
    assert!(matches!(
        refused(&["--memory=100000T"]),
        ConfigError::MemoryLarge { .. }
    ));
    assert!(matches!(
        refused(&["--memory=1M"]),
        ConfigError::MemorySmall { .. }
    ));
    assert!(matches!(
        refused(&["--memory=many"]),
        ConfigError::Size {
            flag: "--memory",
            ..
        }
    ));
    assert!(matches!(
        refused(&["--functions=/nowhere"]),
        ConfigError::Functions { .. }
    ));
    assert!(matches!(
        refused(&["--functions=/dev/null"]),
        ConfigError::Functions { .. }
    ));
    assert!(matches!(
        refused(&["--listen=127.0.0.1"]),
        ConfigError::Listen { .. }
    ));
    assert!(matches!(
        refused(&["--listen=127.0.0.1:99999"]),
        ConfigError::Listen { .. }
    ));
    assert!(matches!(refused(&["--lanes=0"]), ConfigError::Lanes { .. }));
    assert!(matches!(
        refused(&["--lanes=2"]),
        ConfigError::Lanes { lanes: 2, cpus: 1 }
    ));
    assert!(matches!(
        refused(&["--in-flight-max=0"]),
        ConfigError::Range { .. }
    ));
    assert!(matches!(
        refused(&["--max-payload=0"]),
        ConfigError::Range { .. }
    ));
    let text = refused(&["--max-payload=17G"]).to_string();
    for part in ["--max-payload", "18253611008", "17179869184"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_cpu_that_exists_may_still_be_another_s() {
    let first = host::allowed_cpus()[0];
    let error = check_cpus(&first.to_string(), &[]).unwrap_err();
    assert!(
        matches!(error, ConfigError::CpuForbidden { cpu, .. } if cpu == first),
        "{error}"
    );
}

#[test]
fn a_name_that_could_leave_its_folder_is_refused() {
    for name in [
        "",
        "..",
        ".hidden",
        "a/b",
        "-x",
        "a b",
        "ü",
        &"x".repeat(65),
    ] {
        assert!(check_name(name).is_err(), "{name}");
    }
    for name in [
        "a",
        "worker-1.rack_2",
        &"x".repeat(64),
        &default_name(0),
        &default_name(7400),
    ] {
        assert!(check_name(name).is_ok(), "{name}");
    }
}

#[test]
fn the_environment_may_choose_the_driver() {
    assert_eq!(driver_from_environment(None).unwrap(), DriverChoice::Auto);
    assert_eq!(
        driver_from_environment(Some("epoll".into())).unwrap(),
        DriverChoice::Epoll
    );
    let error = driver_from_environment(Some("kqueue".into())).unwrap_err();
    assert!(
        error.to_string().contains("FAASFLOW_DRIVER=kqueue"),
        "{error}"
    );
}

#[test]
fn the_grace_is_a_second_unless_another_one_is_named() {
    let grace = |flags: &[&str]| Config::check(arguments(flags)).unwrap().grace;
    assert_eq!(grace(&[]), Duration::from_secs(1));
    assert_eq!(grace(&["--grace-ms=0"]), Duration::ZERO);
    assert_eq!(grace(&["--grace-ms=3600000"]), Duration::from_secs(3600));
    let error = refused(&["--grace-ms=3600001"]).to_string();
    assert!(
        error.contains("--grace-ms") && error.contains("3600000"),
        "{error}"
    );
}

#[test]
fn a_store_has_some_patience_and_not_for_ever() {
    let patience = |flags: &[&str]| Config::check(arguments(flags)).unwrap().store_patience;
    assert_eq!(patience(&[]), Duration::from_secs(10));
    assert_eq!(
        patience(&["--store-patience=86400"]),
        Duration::from_secs(86_400)
    );
    for flag in ["--store-patience=0", "--store-patience=86401"] {
        let error = refused(&[flag]).to_string();
        assert!(
            error.contains("--store-patience") && error.contains("86400"),
            "{error}"
        );
    }
}

#[test]
fn patience_is_longer_than_a_heartbeat() {
    let config = Config::check(arguments(&["--heartbeat-ms=20", "--peer-silence-ms=40"])).unwrap();
    assert_eq!(config.patience.peer_silence, Duration::from_millis(40));
    for (flags, flag) in [
        (
            ["--heartbeat-ms=20", "--peer-silence-ms=39"],
            "--peer-silence-ms",
        ),
        (
            ["--heartbeat-ms=9", "--peer-silence-ms=40"],
            "--heartbeat-ms",
        ),
        (
            ["--transfer-idle-s=0", "--heartbeat-ms=20"],
            "--transfer-idle-s",
        ),
    ] {
        let error = refused(&flags).to_string();
        assert!(error.contains(flag), "{error}");
    }
}

#[test]
fn memory_is_shared_in_the_network_namespace_by_a_folder_or_not_at_all() {
    let sharing = |flags: &[&str]| Config::check(arguments(flags)).unwrap().host_sharing;
    assert_eq!(sharing(&[]), HostSharing::Namespace);
    assert_eq!(sharing(&["--no-host-sharing"]), HostSharing::Off);
    let folder = tempfile::tempdir().unwrap();
    let flag = format!("--host-sharing={}", folder.path().display());
    let path = folder.path().canonicalize().unwrap();
    assert_eq!(sharing(&[&flag]), HostSharing::Folder(path));

    let both = ["faasflow-worker", "--no-host-sharing", &flag];
    let error = Arguments::try_parse_from(both).unwrap_err();
    assert!(error.to_string().contains("cannot be used with"), "{error}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let open = folder.path().join("open");
    let long = folder.path().join("a".repeat(90));
    for folder in [&open, &long] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    for (folder, said) in [
        (file, "no folder"),
        (open, "chmod go-w"),
        (long, "a shorter one"),
        (folder.path().join("none"), "in common"),
    ] {
        let flag = format!("--host-sharing={}", folder.display());
        let error = refused(&[&flag]).to_string();
        assert!(error.starts_with("--host-sharing /"), "{error}");
        assert!(error.contains(said), "{error}");
    }
}
