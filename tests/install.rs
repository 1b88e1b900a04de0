//! The promise: `make install` puts a stripped program with its symbols, a configuration that is
//! valid, a key of its own and the one systemd unit where they belong, and leaves alone what an
//! operator has there; the documents and the unit agree on what a credential is called.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An empty root for an installation; it goes away with the value.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        // With a space, as folders of people have.
        let name = format!("tidegate install test {}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).unwrap();
        Self(root)
    }

    /// Takes the symbols out of a copy of the program and installs it.
    fn install(&self) {
        let built = self.path("/built");
        if !built.exists() {
            fs::copy(env!("CARGO_BIN_EXE_tidegate"), &built).unwrap();
        }
        // Many an administrator's umask.
        let output = Command::new("sh")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["-c", "umask 077 && exec make \"$@\"", "sh"])
            .args(["--no-print-directory", "split", "place", "PREFIX=/opt/tide"])
            .arg(format!("BUILT={}", built.display()))
            .arg(format!("DESTDIR={}", self.0.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BINARY: &str = "/opt/tide/bin/tidegate";
const SYMBOLS: &str = "/opt/tide/bin/.debug/tidegate.debug";
const UNIT: &str = "/opt/tide/lib/systemd/system/tidegate.service";

fn sections(path: &Path) -> String {
    let output = Command::new("readelf").args(["--wide", "-S"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_installation_is_complete_and_leaves_alone_what_is_there() {
    let root = Root::new();
    root.install();
    let version = Command::new(root.path(BINARY)).arg("--version").output().unwrap();
    assert!(version.status.success());
    let (binary, symbols) = (sections(&root.path(BINARY)), sections(&root.path(SYMBOLS)));
    assert!(!binary.contains(".debug_line") && !binary.contains(".symtab"), "{binary}");
    assert!(binary.contains(".gnu_debuglink") && symbols.contains(".debug_line"), "{symbols}");

    for path in ["/opt/tide/share/man/man1/tidegate-serve.1", UNIT] {
        let mode = fs::metadata(root.path(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{path} is for everybody");
    }

    let key = root.read("/etc/tidegate/api.key");
    assert_eq!(key.trim().len(), 64, "{key}");
    let mode = fs::metadata(root.path("/etc/tidegate/api.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let check = Command::new(root.path(BINARY))
        .env_clear()
        .env("CREDENTIALS_DIRECTORY", root.path("/etc/tidegate"))
        .arg("check-config")
        .arg(root.path("/etc/tidegate/tidegate.toml"))
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));

    let unit = root.read(UNIT);
    assert!(unit.contains(&format!("\nExecStart={BINARY} serve ")), "{unit}");
    let mut credentials = unit.lines().filter_map(|line| line.strip_prefix("LoadCredential="));
    let (name, source) = credentials.next().unwrap().split_once(':').unwrap();
    assert!(root.path(source).is_file(), "{source} must exist, or the service does not start");
    let option = format!("\nkey = \"file:$CREDENTIALS_DIRECTORY/{name}\"\n");
    assert!(root.read("/etc/tidegate/tidegate.toml").contains(&option));

    fs::write(root.path("/etc/tidegate/tidegate.toml"), "# mine\n").unwrap();
    root.install();
    assert_eq!(root.read("/etc/tidegate/tidegate.toml"), "# mine\n");
    assert_eq!(root.read("/etc/tidegate/api.key"), key);
}

#[test]
fn a_credential_outside_a_unit_is_named_with_the_remedy() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let config = Path::new(directory).join("credential.toml");
    fs::write(&config, "[api]\nkey = \"file:$CREDENTIALS_DIRECTORY/api.key\"\n").unwrap();
    let check = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .env_clear()
        .arg("check-config")
        .arg(config)
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(1));
    let said = String::from_utf8(check.stderr).unwrap();
    assert!(said.contains("LoadCredential=") && said.contains("CREDENTIALS_DIRECTORY"), "{said}");
}
