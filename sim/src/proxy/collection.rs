//! All proxies of a program, and every way to change them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};

use super::Error;
use super::chance::Chance;
use super::kind::Close;
use super::listener::{Proxy, ProxyView, Shared};
use super::toxic::Toxic;

const MOST_PROXIES: usize = 1024;

/// What a proxy is to be, or to become: what is `None` stays, or takes its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ProxySpec {
    /// What it is called; needed for a new one, and for good.
    pub name: Option<String>,
    /// Where it listens: `host:port`, port 0 for any, no host for all. Everything by default, as with Toxiproxy.
    pub listen: Option<String>,
    /// Where it connects to: `host:port`; needed for a new one.
    pub upstream: Option<String>,
    /// Whether it listens; a new one does by default.
    pub enabled: Option<bool>,
}

impl ProxySpec {
    /// A proxy that listens at once.
    pub fn new(name: impl Into<String>, listen: impl Into<String>, upstream: impl Into<String>) -> Self {
        Self { name: Some(name.into()), listen: Some(listen.into()), upstream: Some(upstream.into()), enabled: Some(true) }
    }

    fn checked(&self, which: &str) -> Result<(&str, &str, &str), Error> {
        let needed = |field: &'static str, value: &'_ Option<String>| match value.as_deref() {
            None | Some("") => Err(Error::MissingField(format!("{field}{which}"))),
            Some(_) => Ok(()),
        };
        needed("name", &self.name)?;
        needed("upstream", &self.upstream)?;
        let text = Option::as_deref;
        Ok((text(&self.name).unwrap_or(""), text(&self.listen).unwrap_or(""), text(&self.upstream).unwrap_or("")))
    }
}

/// All proxies of a program: a handle to be cloned.
///
/// Each method is one operation of the HTTP API and takes effect before it returns: bytes that a peer sends after it are treated
/// accordingly. When the last handle goes, all connections close.
#[derive(Debug, Clone)]
pub struct Proxies {
    shared: Arc<Shared>,
    proxies: Arc<Mutex<BTreeMap<String, Proxy>>>,
}

impl Proxies {
    /// No proxies yet. Every random decision follows from the seed. A connection holds at most `capacity` bytes a direction, and
    /// at most `connections` live at a time; more wait in the kernel's queues.
    pub fn new(seed: u64, capacity: usize, connections: usize) -> Self {
        let slots = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        let shared = Shared { chance: Chance::from_seed(seed), capacity: capacity.max(1), slots };
        Self { shared: Arc::new(shared), proxies: Arc::default() }
    }

    /// Makes a proxy.
    ///
    /// # Errors
    ///
    /// [`Error::MissingField`], [`Error::ProxyAlreadyExists`], [`Error::Listen`], [`Error::TooMany`].
    pub async fn create(&self, spec: &ProxySpec) -> Result<ProxyView, Error> {
        let (name, listen, upstream) = spec.checked("")?;
        let mut proxies = self.proxies.lock().await;
        if proxies.contains_key(name) {
            return Err(Error::ProxyAlreadyExists);
        }
        self.insert(&mut proxies, name, listen, upstream, spec.enabled).await
    }

    /// Makes those of these proxies that there are not, and replaces those that are at other addresses; the rest stays as it is.
    ///
    /// # Errors
    ///
    /// The first one's, with those that were made before it.
    pub async fn populate(&self, specs: &[ProxySpec]) -> Result<Vec<ProxyView>, (Vec<ProxyView>, Error)> {
        for (at, spec) in specs.iter().enumerate() {
            spec.checked(&format!(" at proxy {}", at + 1)).map_err(|error| (Vec::new(), error))?;
        }
        let mut made = Vec::with_capacity(specs.len());
        for spec in specs {
            match self.make_sure_of(spec).await {
                Ok(view) => made.push(view),
                Err(error) => return Err((made, error)),
            }
        }
        Ok(made)
    }

    /// All proxies, by name.
    pub async fn list(&self) -> BTreeMap<String, ProxyView> {
        self.proxies.lock().await.iter().map(|(name, proxy)| (name.clone(), proxy.view())).collect()
    }

    /// One proxy.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`].
    pub async fn get(&self, name: &str) -> Result<ProxyView, Error> {
        self.with(name, |proxy| Ok(proxy.view())).await
    }

    /// Changes addresses, which closes all connections, and starts or stops it. The name stays.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`], [`Error::Listen`]; in the latter case it is disabled if its address had to change.
    pub async fn update(&self, name: &str, change: &ProxySpec) -> Result<ProxyView, Error> {
        let mut proxies = self.proxies.lock().await;
        let proxy = proxies.get_mut(name).ok_or(Error::ProxyNotFound)?;
        let before = proxy.view();
        let listen = change.listen.as_ref().unwrap_or(&before.listen);
        let upstream = change.upstream.as_ref().unwrap_or(&before.upstream);
        if proxy.differs(listen, upstream).await? {
            proxy.stop().await;
            proxy.readdress(listen, upstream);
        }
        if change.enabled.unwrap_or(before.enabled) {
            proxy.start().await?;
        } else {
            proxy.stop().await;
        }
        Ok(proxy.view())
    }

    /// Closes a proxy with all its connections and forgets it.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`].
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let mut proxies = self.proxies.lock().await;
        let mut proxy = proxies.remove(name).ok_or(Error::ProxyNotFound)?;
        proxy.stop().await;
        Ok(())
    }

    /// Enables all proxies and removes all toxics.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`], for the first proxy that cannot be enabled; those after it in the order of names are as they were.
    pub async fn reset(&self) -> Result<(), Error> {
        for proxy in self.proxies.lock().await.values_mut() {
            proxy.start().await?;
            proxy.remove_all_toxics();
            proxy.heed().await?;
        }
        Ok(())
    }

    /// Stops all proxies and closes all connections; they stay, disabled.
    pub async fn stop(&self) {
        for proxy in self.proxies.lock().await.values_mut() {
            proxy.stop().await;
        }
    }

    /// Closes the connections that a proxy has now; it goes on listening.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`].
    pub async fn disconnect(&self, name: &str, close: Close) -> Result<(), Error> {
        self.with(name, |proxy| {
            proxy.disconnect(close);
            Ok(())
        })
        .await
    }

    /// The toxics of a proxy, first those upstream.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`].
    pub async fn toxics(&self, proxy: &str) -> Result<Vec<Toxic>, Error> {
        self.with(proxy, |proxy| Ok(proxy.toxics())).await
    }

    /// One toxic of a proxy.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`], [`Error::ToxicNotFound`].
    pub async fn toxic(&self, proxy: &str, name: &str) -> Result<Toxic, Error> {
        self.with(proxy, |proxy| proxy.toxic(name)).await
    }

    /// Adds a toxic behind those that the proxy has, on live connections too.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`], [`Error::ToxicAlreadyExists`], [`Error::TooMany`].
    pub async fn add_toxic(&self, proxy: &str, toxic: Toxic) -> Result<Toxic, Error> {
        self.with_heed(proxy, |proxy| proxy.add_toxic(toxic)).await
    }

    /// Removes a toxic, from live connections too: what waited for it passes.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`], [`Error::ToxicNotFound`]. [`Error::Listen`] if it refused connections and somebody has taken the address
    /// meanwhile: the toxic is gone, and the next change of a toxic tries again.
    pub async fn remove_toxic(&self, proxy: &str, name: &str) -> Result<(), Error> {
        self.with_heed(proxy, |proxy| proxy.remove_toxic(name)).await
    }

    /// Changes a toxic as the body of a request says.
    pub(super) async fn change_toxic(&self, proxy: &str, name: &str, body: &[u8]) -> Result<Toxic, Error> {
        self.with_heed(proxy, |proxy| proxy.change_toxic(name, |toxic| toxic.changed(body))).await
    }

    async fn with<T>(&self, name: &str, act: impl FnOnce(&mut Proxy) -> Result<T, Error>) -> Result<T, Error> {
        let mut proxies = self.proxies.lock().await;
        act(proxies.get_mut(name).ok_or(Error::ProxyNotFound)?)
    }

    /// The same for what may let a proxy stop listening, or listen again.
    async fn with_heed<T>(&self, name: &str, act: impl FnOnce(&mut Proxy) -> Result<T, Error>) -> Result<T, Error> {
        let mut proxies = self.proxies.lock().await;
        let proxy = proxies.get_mut(name).ok_or(Error::ProxyNotFound)?;
        let done = act(proxy)?;
        proxy.heed().await?;
        Ok(done)
    }

    async fn make_sure_of(&self, spec: &ProxySpec) -> Result<ProxyView, Error> {
        let (name, listen, upstream) = spec.checked("")?;
        let mut proxies = self.proxies.lock().await;
        if let Some(proxy) = proxies.get_mut(name) {
            if !proxy.differs(listen, upstream).await? {
                return Ok(proxy.view());
            }
            proxy.stop().await;
        }
        self.insert(&mut proxies, name, listen, upstream, spec.enabled).await
    }

    async fn insert(
        &self,
        proxies: &mut BTreeMap<String, Proxy>,
        name: &str,
        listen: &str,
        upstream: &str,
        enabled: Option<bool>,
    ) -> Result<ProxyView, Error> {
        if proxies.len() >= MOST_PROXIES {
            return Err(Error::TooMany { what: "proxies", limit: MOST_PROXIES });
        }
        let mut proxy = Proxy::new(&self.shared, name, listen, upstream);
        if enabled.unwrap_or(true) {
            proxy.start().await?;
        }
        let view = proxy.view();
        proxies.insert(name.to_owned(), proxy);
        Ok(view)
    }
}
