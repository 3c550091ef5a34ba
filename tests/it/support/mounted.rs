//! A small file system of its own, in memory.

use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;

/// Mounted while this lives; whatever works in it must have ended before.
pub struct Mounted(tempfile::TempDir);

impl Mounted {
    /// With options of `mount`. `None`, and said aloud: only root may mount, and not in every container.
    pub fn memory(options: &str) -> Option<Self> {
        if !geteuid().is_root() {
            eprintln!("NOT TRIED, for want of root's rights: what happens on a file system with {options}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder.path())
            .output()
            .unwrap();
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr);
            eprintln!(
                "NOT TRIED, since nothing may be mounted here ({why}): what happens on a file system with {options}"
            );
            return None;
        }
        Some(Self(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a process that ends at this moment must not leave it behind.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}
