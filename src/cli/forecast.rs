//! `gatepost forecast`: what a message to an address would get, and why, as far as the DNS and policies
//! tell.

use std::{process::ExitCode, time::SystemTime};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::answer::Answer;
use crate::{
    accounts::login_name,
    config::Loaded,
    dns::Dns,
    envelope::{AccountTls, MxProof, Protection, TlsWish},
    policy::{
        routes::{Origin, Transport},
        security::{Encryption, Identity, Plan, Shortfall},
    },
    reach::{Forecast, HostForecast, Outlook, Reach, sts::Sts},
    server::{DATABASE, logging::escape},
    smtp::Mailbox,
    store::Store,
};

/// A message that might be sent.
#[derive(Args, Debug)]
pub struct Forecasted {
    /// Its recipient.
    address: String,
    /// The account that submits it.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// As if the message asked for REQUIRETLS.
    #[arg(long)]
    requiretls: bool,
}

impl Forecasted {
    /// Looks everything up and prints it; fails where the message would not be delivered as things
    /// are.
    ///
    /// # Errors
    /// The address is none, no route to mail hosts takes it, or the store cannot be read.
    pub async fn run(self, loaded: &Loaded, json: bool) -> Result<ExitCode> {
        let recipient = Mailbox::parse(&self.address)
            .with_context(|| format!("{} is no address", self.address))?;
        let store = Store::open(&loaded.config.data_dir.join(DATABASE)).await?;
        let found = self.look(loaded, &store, &recipient).await;
        store.close().await;
        let forecast = found?;
        let outlook = forecast.outlook();
        answer(&recipient, &forecast, &outlook).print(json)?;
        Ok(match outlook {
            Outlook::Fair => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }

    async fn look(&self, loaded: &Loaded, store: &Store, recipient: &Mailbox) -> Result<Forecast> {
        let options = &loaded.options;
        let name = match &self.account {
            None => None,
            Some(name) => {
                Some(login_name(name).with_context(|| format!("{name:?} cannot be a login name"))?)
            }
        };
        let mut protection = Protection::default();
        if let Some(name) = &name {
            let Some(account) = store.account_by_name(name).await? else {
                bail!("account {name} does not exist");
            };
            protection.level = account.protection.level;
            if account.protection.tls == AccountTls::Require {
                protection.tls = TlsWish::Required;
            }
        }
        if self.requiretls {
            protection.tls = TlsWish::Required;
        }
        let origin = Origin {
            sender: None,
            account: name.as_deref(),
        };
        let Some(route) = options.queue.routes.lookup(recipient, &origin) else {
            bail!("no route takes mail for {recipient}");
        };
        let Transport::Mx(mx) = &route.transport else {
            bail!(
                "mail for {recipient} takes the route {}, which does not ask the DNS; see gatepost \
                 route test",
                route.name
            );
        };
        let dns = Dns::new(options.dns.clone());
        let now = SystemTime::now();
        let sts = Sts::open(options.sts.clone(), dns.clone(), store.clone(), now).await?;
        let reach = Reach::new(dns, Some(sts));
        let domain = recipient.domain();
        let required = options.forecast.levels.requirement(protection, domain);
        Ok(reach.forecast(domain, required, mx.port, now).await)
    }
}

fn answer(recipient: &Mailbox, forecast: &Forecast, outlook: &Outlook) -> Answer {
    let mut lines = vec![
        ("recipient", recipient.to_string()),
        ("required", forecast.required.to_string()),
    ];
    match (forecast.sts.policy(), forecast.sts.trouble()) {
        (Some(policy), _) => lines.push(("MTA-STS", policy.mode.as_str().to_owned())),
        (None, Some(trouble)) => lines.push(("MTA-STS", format!("no policy: {trouble}"))),
        (None, None) => {}
    }
    let mut hosts = Vec::new();
    match &forecast.hosts {
        Err(why) => lines.push(("mail hosts", why.to_string())),
        Ok((found, forecasts)) => {
            let signed = match found.secure {
                true => "signed (DNSSEC)",
                false => "not signed",
            };
            lines.push(("MX", signed.to_owned()));
            for it in forecasts {
                lines.push(("host", described(it)));
                hosts.push(object(it));
            }
        }
    }
    let (word, why) = match outlook {
        Outlook::Fair => ("fair", None),
        Outlook::NoSuchDomain => ("no-such-domain", None),
        Outlook::NullMx => ("null-mx", None),
        Outlook::CannotBeProtected(why) => ("cannot-be-protected", Some(why)),
        Outlook::Unknown(why) => ("unknown", Some(why)),
    };
    let said = match (outlook, why) {
        (Outlook::Fair, _) => "it can be handed over, if a host proves what it must".to_owned(),
        (Outlook::NoSuchDomain, _) => "refused at RCPT: the domain does not exist".to_owned(),
        (Outlook::NullMx, _) => "refused at RCPT: the domain takes no mail".to_owned(),
        (_, Some(why)) => why.clone(),
        (_, None) => word.to_owned(),
    };
    lines.push(("outlook", said));
    let text = lines
        .iter()
        .map(|(name, value)| format!("{name:12}{}\n", escape(value)))
        .collect();
    Answer {
        text,
        objects: vec![json!({
            "recipient": recipient.to_string(),
            "required": forecast.required.to_string(),
            "mta_sts": forecast.sts.policy().map(|policy| policy.mode.as_str()),
            "mta_sts_trouble": forecast.sts.trouble().map(ToString::to_string),
            "mx_signed": forecast.hosts.as_ref().ok().map(|(hosts, _)| hosts.secure),
            "hosts": hosts,
            "outlook": word,
            "why": why,
        })],
    }
}

fn described(it: &HostForecast) -> String {
    let head = format!("{} (preference {})", it.host.text(), it.host.preference);
    let rest = match &it.found {
        Err(fault) => fault.to_string(),
        Ok((host, Err(shortfall))) => {
            let trouble = host.trouble.as_ref();
            let trouble = trouble.map_or_else(String::new, |why| format!(" ({why})"));
            format!("would not get it: {shortfall}{trouble}")
        }
        Ok((host, Ok(plan))) => {
            let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
            format!("{}; {}", must(plan), addresses.join(" "))
        }
    };
    format!("{head}: {rest}")
}

fn must(plan: &Plan) -> String {
    let identity = match plan.identity {
        Identity::Dane => "must match its TLSA records (DANE)",
        Identity::WebPki => "must show a certificate for its name from a trusted authority",
        Identity::Anyone => "need not prove its identity",
    };
    let tls = match plan.encryption {
        Encryption::Always => "TLS",
        Encryption::IfOffered => "TLS if offered",
    };
    let mx = match plan.mx {
        MxProof::Dnssec => ", its MX is vouched for by DNSSEC",
        MxProof::Sts => ", its MX is named by the MTA-STS policy",
        MxProof::None | MxProof::Unchecked => "",
    };
    let keyword = if plan.passed_on {
        ", must offer REQUIRETLS"
    } else {
        ""
    };
    format!("{tls}, {identity}{mx}{keyword}")
}

fn object(it: &HostForecast) -> Value {
    let mut object = json!({ "host": it.host.text(), "preference": it.host.preference });
    match &it.found {
        Err(fault) => object["trouble"] = json!(fault.to_string()),
        Ok((host, planned)) => {
            object["addresses"] = host.addresses.iter().map(ToString::to_string).collect();
            object["tlsa"] = host.records.iter().map(ToString::to_string).collect();
            match planned {
                Ok(plan) => {
                    object["tls"] = json!(match plan.encryption {
                        Encryption::Always => "always",
                        Encryption::IfOffered => "if-offered",
                    });
                    object["identity"] = json!(match plan.identity {
                        Identity::Dane => "dane",
                        Identity::WebPki => "webpki",
                        Identity::Anyone => "none",
                    });
                    object["mx_proof"] = json!(plan.mx.as_str());
                    object["requiretls"] = json!(plan.passed_on);
                }
                Err(shortfall) => {
                    object["refused"] = json!(match shortfall {
                        Shortfall::TlsaFailed => "tlsa-failed",
                        Shortfall::NotInPolicy => "not-in-policy",
                        Shortfall::MxNotProved => "mx-not-proved",
                    });
                }
            }
        }
    }
    object
}
