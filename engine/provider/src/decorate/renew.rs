//! New credentials for old: where what counted before is refused, the provider looks for its credentials anew, once.
//!
//! Keys are rotated, tokens are revoked and files are written again while an engine runs. The call that finds it out is
//! one that did nothing, so it is sent again with what is found then; only if that is refused as well, somebody has to act.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use isobar_engine_model::quantity::Timestamp;

use super::layer::{Account, Call, Decorated, Layer, Sending};
use crate::{Clock, Provider, ProviderError, Result};

/// Credentials that were looked for so recently are the newest there are, in ms.
const NEW_FOR_MS: u64 = 60_000;

/// A provider that keeps credentials for its next call.
#[async_trait]
pub trait KeepsCredentials: Provider {
    /// Those of its next call are looked for where it looked for the first.
    async fn forget_credentials(&self);
}

/// Has a provider look for its credentials anew.
pub struct Renew {
    keeper: Arc<dyn KeepsCredentials>,
    clock: Arc<dyn Clock>,
    account_settings: &'static [&'static str],
    standing: Mutex<BTreeMap<Account, Standing>>,
}

/// What is known of an account's credentials; nothing: none has ever counted.
#[derive(Clone, Copy)]
enum Standing {
    /// They count.
    Count,
    /// They did not any more, and were looked for anew.
    LookedFor(Timestamp),
}

impl Renew {
    /// `provider`, which forgets credentials that do not count any more.
    pub fn around(provider: Arc<impl KeepsCredentials + 'static>, clock: Arc<dyn Clock>) -> Decorated<Self> {
        let layer = Self {
            keeper: provider.clone(),
            clock,
            account_settings: provider.capabilities().account_settings,
            standing: Mutex::default(),
        };
        Decorated::new(provider, layer)
    }

    fn count(&self, account: Account) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = standing.entry(account).or_insert(Standing::Count);
        if !self.is_new(*known) {
            *known = Standing::Count;
        }
    }

    /// Whether it is time to look for others; it is not again for a while.
    fn look_for_others(&self, account: Account) -> bool {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = standing.get_mut(&account).filter(|known| !self.is_new(**known)) else {
            return false;
        };
        *known = Standing::LookedFor(self.clock.now());
        true
    }

    fn is_new(&self, standing: Standing) -> bool {
        match standing {
            Standing::Count => false,
            Standing::LookedFor(at) => self.clock.now().since_ms(at) < NEW_FOR_MS,
        }
    }
}

#[async_trait]
impl Layer for Renew {
    async fn around<'a, T: Send>(
        &self,
        call: Call<'a>,
        send: &(dyn Fn() -> Sending<'a, T> + Send + Sync),
    ) -> Result<T> {
        let account = call.account(self.account_settings);
        match send().await {
            Ok(answer) => {
                self.count(account);
                Ok(answer)
            }
            Err(ProviderError::Unauthorized { message }) if self.look_for_others(account) => {
                self.keeper.forget_credentials().await;
                Err(ProviderError::Unavailable {
                    message: format!("the credentials do not count any more ({message}); looking for others"),
                })
            }
            Err(error) => Err(error),
        }
    }
}
