//! The start: everything that can fail first, and only then anything that runs.

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use tokio::{net::UnixListener, sync::Mutex};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    DATABASE, Running, become_user, counting::Counting, health::warn_of_resolver,
    pairs::check_pairs, recipients::Reachable,
};
use crate::{
    accounts::Accounts,
    admin,
    config::{ConfigError, Level, Loaded},
    deliver::Deliver,
    dkim::Dkim,
    dns::Dns,
    intake::Intake,
    listener::{Activated, BindError, Desk, Endpoint, Kind, Listeners, RecipientCheck},
    policy::routes::Origin,
    queue::Queue,
    reach::{Reach, sts::Sts},
    session::RecipientVerdict,
    smtp::Mailbox,
    spool::{Fresh, Spool},
    store::Store,
    tls,
    tlsrpt::TlsReports,
};

/// Where servers come from.
pub struct Server;

/// Opened while root may be needed; nobody serves them yet.
struct Doors {
    tls: Arc<tls::Server>,
    listeners: Listeners,
    http: Vec<TcpListener>,
}

/// What keeps mail and accounts; nobody uses them yet.
struct Keepers {
    spool: Arc<Spool>,
    fresh: Fresh,
    accounts: Arc<Accounts>,
    dkim: Arc<Dkim>,
    reachable: Arc<Reachable>,
    reach: Reach,
    control: UnixListener,
}

impl Server {
    /// Starts everything and returns when clients are served; `file` is read again on reload.
    ///
    /// # Errors
    /// The first thing that cannot be had; nothing is left running then.
    pub async fn start(loaded: Loaded, file: Option<PathBuf>) -> Result<Arc<Running>> {
        Server::start_on(Activated::default(), loaded, file).await
    }

    /// The same with sockets that were passed in.
    ///
    /// # Errors
    /// As [`Server::start`], and where one of them has no endpoint.
    pub async fn start_on(
        activated: Activated,
        loaded: Loaded,
        file: Option<PathBuf>,
    ) -> Result<Arc<Running>> {
        let doors = open_doors(&loaded, activated)?;
        let path = loaded.config.data_dir.join(DATABASE);
        let store = Store::open(&path)
            .await
            .with_context(|| format!("failed to open the database {}", path.display()))?;
        match open_keepers(&loaded, &store).await {
            Ok(keepers) => Ok(serve(loaded, file, store, doors, keepers).await),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }
}

fn open_doors(loaded: &Loaded, activated: Activated) -> Result<Doors> {
    let (config, options) = (&loaded.config, &loaded.options);
    check_pairs(loaded)?;
    loaded.check_files()?;
    let tls = tls::Server::open(&options.pairs, &options.visitors)
        .context("failed to load the certificates")?;
    activated.check(&options.endpoints).map_err(|error| {
        ConfigError(vec![loaded.finding(
            "listeners",
            error.to_string(),
            Level::Error,
        )])
    })?;
    let listeners = Listeners::open(&options.endpoints, activated)
        .map_err(|error| not_bound(loaded, &error))?;
    let http = admin::http::bind(&config.http.listen)?;
    if !config.user.is_empty() {
        become_user(&config.user, &config.data_dir)?;
        // Else they could not be reloaded.
        check_pairs(loaded)
            .and_then(|()| loaded.check_files())
            .with_context(|| format!("user {} must be able to read", config.user))?;
    }
    Ok(Doors {
        tls,
        listeners,
        http,
    })
}

/// Names the key of an address that cannot be had.
pub(super) fn not_bound(loaded: &Loaded, error: &BindError) -> ConfigError {
    let listeners = &loaded.config.listeners;
    let lists = [
        (Kind::Implicit, &listeners.submissions),
        (Kind::StartTls, &listeners.submission),
    ];
    let key = lists.into_iter().find_map(|(kind, addresses)| {
        let n = addresses.iter().position(|it| *it == error.address)?;
        Some(format!("listeners.{}.{n}", kind.name()))
    });
    let key = key.unwrap_or_else(|| "listeners".to_owned());
    ConfigError(vec![loaded.finding(&key, error.to_string(), Level::Error)])
}

async fn open_keepers(loaded: &Loaded, store: &Store) -> Result<Keepers> {
    let (config, options) = (&loaded.config, &loaded.options);
    let (spool, fresh) = Spool::open(store.clone(), options.spool.clone(), SystemTime::now())
        .await
        .context("failed to open the spool")?;
    spool.hold(options.queue.hold);
    let accounts = Accounts::open(store.clone(), options.accounts.clone());
    let dkim = Dkim::open(store.clone())
        .await
        .context("failed to read the keys that sign mail")?;
    let dns = Dns::new(options.dns.clone());
    let sts = Sts::open(
        options.sts.clone(),
        dns.clone(),
        store.clone(),
        SystemTime::now(),
    );
    let sts = sts.await.context("failed to read the MTA-STS policies")?;
    let reach = Reach::new(dns, Some(sts));
    let reachable = Reachable::new(
        options.queue.routes.clone(),
        options.forecast.clone(),
        Arc::clone(&accounts),
        reach.clone(),
    );
    let checked = check_postmaster(&reachable, &options.session.postmaster).await;
    // The spool's lock shows that no other server answers on the control socket.
    match checked.and_then(|()| admin::control::bind(&config.data_dir)) {
        Ok(control) => Ok(Keepers {
            spool,
            fresh,
            accounts,
            dkim,
            reachable,
            reach,
            control,
        }),
        Err(error) => {
            spool.close().await;
            Err(error)
        }
    }
}

/// The one address that every server must take mail for (RFC 5321 §4.5.1).
pub(super) async fn check_postmaster(reachable: &Reachable, postmaster: &Mailbox) -> Result<()> {
    match reachable.reach(postmaster, &Origin::default()).await {
        RecipientVerdict::Granted => {}
        RecipientVerdict::NoSuchMailbox => {
            // Not fatal: the first account is made beside a server that may run already.
            tracing::warn!(%postmaster, "postmaster has no mailbox yet; add its domain or account");
        }
        RecipientVerdict::NoRoute => bail!("postmaster: no route takes mail for {postmaster}"),
        RecipientVerdict::Unavailable
        | RecipientVerdict::NotAllowed
        | RecipientVerdict::OverLimit(_)
        | RecipientVerdict::NoSuchDomain
        | RecipientVerdict::NullMx
        | RecipientVerdict::CannotBeProtected(_)
        | RecipientVerdict::Undetermined => {
            bail!("postmaster: the account store is unavailable");
        }
    }
    Ok(())
}

/// Nothing here can fail. The control socket and HTTP answer before the first client does.
async fn serve(
    loaded: Loaded,
    file: Option<PathBuf>,
    store: Store,
    doors: Doors,
    keepers: Keepers,
) -> Arc<Running> {
    let (config, options) = (loaded.config.clone(), loaded.options.clone());
    let Keepers {
        spool,
        fresh,
        accounts,
        dkim,
        reachable,
        reach,
        control,
    } = keepers;
    let intake = Intake::new(
        options.intake,
        Arc::clone(&accounts),
        Arc::clone(&dkim),
        Arc::clone(&spool),
    );
    let (stop_doors, stop_hands) = (CancellationToken::new(), CancellationToken::new());
    let tls_reports = TlsReports::new(
        options.tls_reports,
        store.clone(),
        reach.dns().clone(),
        Arc::clone(&dkim),
        Arc::clone(&spool),
    );
    let (results, sessions) = tls_reports.channel();
    let deliver =
        Deliver::new(options.deliver, reach.clone(), Arc::clone(&dkim)).counted_by(results);
    let swept = deliver.clone();
    // A panic there would be no reason not to serve.
    let _ = tokio::task::spawn_blocking(move || swept.sweep()).await;
    let queue = Queue::start(
        options.queue,
        deliver.clone(),
        Arc::clone(&dkim),
        Arc::clone(&spool),
        fresh,
        stop_hands.clone(),
    );
    let desk = Desk::new(
        Arc::clone(&accounts),
        Arc::clone(&intake),
        Arc::clone(&reachable) as Arc<dyn RecipientCheck>,
        Arc::clone(&doors.tls),
        options.session,
        options.connections,
        options.proxies,
    );
    let (tracker, background) = (TaskTracker::new(), TaskTracker::new());
    background.spawn(Arc::clone(&doors.tls).watch(stop_hands.clone()));
    background.spawn(refresh(reach.clone(), stop_hands.clone()));
    background.spawn(Arc::clone(&tls_reports).count(sessions, stop_hands.clone()));
    background.spawn(Arc::clone(&tls_reports).report(stop_hands.clone()));
    // Nobody waits for the resolver.
    tokio::spawn(warn_of_resolver(loaded.options.clone(), reach.clone()));
    let kinds = options
        .endpoints
        .iter()
        .map(|endpoint: &Endpoint| endpoint.kind);
    let running = Arc::new(Running {
        addresses: kinds.zip(doors.listeners.local_addrs()).collect(),
        http: local_addresses(&doors.http),
        loaded: Mutex::new(loaded),
        began: config,
        file,
        store,
        accounts,
        dkim,
        reachable,
        reach,
        tls_reports,
        spool,
        intake,
        deliver,
        queue,
        counting: Counting::default(),
        desk: Arc::clone(&desk),
        tls: doors.tls,
        serving: Mutex::new(None),
        doors: stop_doors.clone(),
        hands: stop_hands.clone(),
        tracker: tracker.clone(),
        keepers: background.clone(),
    });
    for socket in doors.http {
        let server = Arc::clone(&running);
        background.spawn(admin::http::serve(socket, server, stop_hands.clone()));
    }
    let server = Arc::clone(&running);
    background.spawn(admin::control::serve(control, server, stop_hands));
    let serving = doors.listeners.serve(desk, stop_doors, tracker);
    *running.serving.lock().await = Some(serving);
    running
}

/// Policies are looked at so often whether they are to be fetched anew.
const REFRESH: Duration = Duration::from_secs(3600);

/// Keeps the policies of other domains fresh.
async fn refresh(reach: Reach, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = reach.refresh_due(SystemTime::now()) => {}
        }
    }
}

fn local_addresses(sockets: &[TcpListener]) -> Vec<std::net::SocketAddr> {
    let addresses = sockets.iter().map(TcpListener::local_addr);
    addresses.filter_map(Result::ok).collect()
}
