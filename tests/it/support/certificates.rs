//! Certificates of a test's own, made by the JDK's keytool.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Of all stores and keys here.
pub const PASSWORD: &str = "of-the-test";

/// An authority, what it has signed, and an authority that has signed nothing.
pub struct Certificates(PathBuf);

impl Certificates {
    pub fn make(folder: &Path) -> Self {
        let made = Self(folder.to_owned());
        let authority = ["-ext", "bc:c=ca:true", "-ext", "ku:c=keyCertSign"];
        for name in ["authority", "stranger"] {
            made.keytool(
                name,
                &[&["-genkeypair", "-dname", &format!("CN={name}")][..], &KEY, &authority].concat(),
            );
            let file = made.authority(name);
            made.keytool(name, &["-exportcert", "-rfc", "-file", file.to_str().unwrap()]);
        }
        made.signed("broker", &["-ext", "san=ip:127.0.0.1"]);
        made.signed("client", &[]);
        made
    }

    /// PEM.
    pub fn authority(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    /// PKCS 12: key, certificate, and the authority's.
    pub fn store(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.p12"))
    }

    fn signed(&self, name: &str, extensions: &[&str]) {
        let file = |kind: &str| self.0.join(format!("{name}.{kind}")).to_str().unwrap().to_owned();
        let (request, certificate) = (file("csr"), file("crt"));
        self.keytool(
            name,
            &[&["-genkeypair", "-dname", &format!("CN={name}")][..], &KEY].concat(),
        );
        self.keytool(name, &["-certreq", "-file", &request]);
        let signing = [
            "-gencert",
            "-rfc",
            "-validity",
            "2",
            "-infile",
            &request,
            "-outfile",
            &certificate,
        ];
        self.keytool("authority", &[&signing[..], extensions].concat());
        let authority = self.authority("authority");
        self.run(
            name,
            &[
                "-importcert",
                "-noprompt",
                "-alias",
                "authority",
                "-file",
                authority.to_str().unwrap(),
            ],
        );
        self.keytool(name, &["-importcert", "-file", &certificate]);
    }

    fn keytool(&self, store: &str, arguments: &[&str]) {
        self.run(store, &[arguments, &["-alias", store]].concat());
    }

    fn run(&self, store: &str, arguments: &[&str]) {
        let output = Command::new("keytool")
            .args(arguments)
            .args(["-storepass", PASSWORD, "-keystore"])
            .arg(self.store(store))
            .stdin(Stdio::null())
            .output()
            .expect("keytool (of the JDK) is needed");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}

const KEY: [&str; 6] = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2"];
