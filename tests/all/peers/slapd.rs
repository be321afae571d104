//! OpenLDAP's server on a Unix socket and on a port with STARTTLS, with three people.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use super::{Process, directory, free_port, installed};
use crate::hop::Certificate;

/// The password of everybody there.
pub const SECRET: &str = "a secret of LDAP's";
/// Who may search.
pub const READER: &str = "cn=reader,dc=example,dc=org";

pub struct Slapd {
    pub address: SocketAddr,
    process: Process,
}

impl Slapd {
    /// None, loudly, where it cannot be had.
    pub fn start() -> Option<Slapd> {
        // It has no option that tells its version and succeeds.
        if !installed(
            "slapd",
            Command::new("test").args(["-x", "/usr/sbin/slapd"]),
        ) {
            return None;
        }
        let address = free_port();
        let directory = directory("slapd", &["data"]);
        let here = directory.path();
        fs::write(here.join("slapd.conf"), configuration(here)).unwrap();
        fs::write(here.join("people.ldif"), people()).unwrap();
        let conf = here.join("slapd.conf").display().to_string();
        let loaded = Command::new("/usr/sbin/slapadd")
            .args(["-f", &conf, "-l"])
            .arg(here.join("people.ldif"))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&loaded.stderr);
        assert!(loaded.status.success(), "{error}");
        let listens = format!("ldap://{address} {}", socket(here));
        let arguments = ["-h", &listens, "-f", &conf, "-d", "0"];
        let slapd = Path::new("/usr/sbin/slapd");
        let mut process = Process::start("slapd", directory, slapd, &arguments);
        process.wait("a port", |_| TcpStream::connect(address).ok());
        Some(Slapd { address, process })
    }

    /// The URL of its Unix socket.
    pub fn socket(&self) -> String {
        socket(&self.process.path(""))
    }
}

fn socket(here: &Path) -> String {
    let path = here.join("ldapi").display().to_string();
    format!("ldapi://{}", path.replace('/', "%2f"))
}

fn configuration(here: &Path) -> String {
    let (certificate, key) = Certificate::Good.files();
    let here = here.display();
    format!(
        "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {here}/pid
TLSCertificateFile {}
TLSCertificateKeyFile {}
database mdb
suffix dc=example,dc=org
directory {here}/data
maxsize 10485760
access to attrs=userPassword by anonymous auth
access to * by dn.exact=\"{READER}\" read by self read
",
        certificate.display(),
        key.display()
    )
}

fn people() -> String {
    let mut text = format!(
        "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n\n\
         dn: {READER}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\n\
         cn: reader\nuserPassword: {SECRET}\n\n\
         dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n"
    );
    for (uid, mail) in [
        ("carol", "carol@example.org"),
        ("dave", "David.Long@example.org"),
        // Two people with one address are nobody.
        ("erin", "twice@example.org"),
        ("frank", "twice@example.org"),
    ] {
        text += &format!(
            "dn: uid={uid},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: {uid}\n\
             cn: {uid}\nsn: x\nmail: {mail}\nuserPassword: {SECRET}\n\n"
        );
    }
    text
}
