//! The way to the broker that coordinates a group.

use crate::{Client, ClientError};
use highwater_env::Env;
use highwater_types::BrokerId;
use highwater_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use highwater_wire::{ErrorCode, Request, Str};
use std::sync::{Mutex, PoisonError};

/// The way to the broker that coordinates a group, which may change at any time.
pub(crate) struct Coordinator<E: Env> {
    client: Client<E>,
    group: Str,
    known: Mutex<Option<BrokerId>>,
}

impl<E: Env> Coordinator<E> {
    pub(crate) fn new(client: Client<E>, group: &str) -> Self {
        Self { client, group: Str::from(group), known: Mutex::new(None) }
    }

    pub(crate) fn client(&self) -> &Client<E> {
        &self.client
    }

    pub(crate) fn group(&self) -> &Str {
        &self.group
    }

    /// Asks the coordinator, and asks again while it is not there, is another one, or reads its log. `code` says what
    /// an answer says of the group.
    pub(crate) async fn call<R: Request>(
        &self,
        request: &R,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        self.call_up_to(i16::MAX, request, code).await
    }

    /// [`Self::call`], in a version up to this one.
    pub(crate) async fn call_up_to<R: Request>(
        &self,
        limit: i16,
        request: &R,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        let what = format!("{} for group {}", R::KEY, self.group);
        self.client.retry(&what, || self.attempt(limit, request, &code)).await
    }

    /// Asks the coordinator once.
    pub(crate) async fn call_once<R: Request>(
        &self,
        request: &R,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        self.attempt(i16::MAX, request, code).await
    }

    async fn attempt<R: Request>(
        &self,
        limit: i16,
        request: &R,
        code: impl Fn(&R::Response) -> ErrorCode,
    ) -> Result<R::Response, ClientError> {
        let broker = self.find().await?;
        let answer = self.client.call(broker, request, limit).await.inspect_err(|_| self.forget())?;
        match code(&answer) {
            moved @ (ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE) => {
                self.forget();
                Err(self.refused(moved, None))
            }
            loading @ ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => Err(self.refused(loading, None)),
            _ => Ok(answer),
        }
    }

    async fn find(&self) -> Result<BrokerId, ClientError> {
        if let Some(known) = *self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(known);
        }
        let request = FindCoordinatorRequest {
            key: self.group.clone(),
            coordinator_keys: vec![self.group.clone()],
            ..FindCoordinatorRequest::default()
        };
        let FindCoordinatorResponse { coordinators, error_code, error_message, node_id, .. } =
            self.client.call_any(&request).await?;
        // Versions for many answer in the list, those for one beside it.
        let (code, message, broker) = match coordinators.into_iter().next() {
            Some(one) => (one.error_code, one.error_message, one.node_id),
            None => (error_code, error_message, node_id),
        };
        if !code.is_ok() {
            return Err(self.refused(code, message.as_deref()));
        }
        if !self.client.metadata().brokers.contains_key(&broker) {
            self.client.refresh(&[], false).await?;
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(broker);
        Ok(broker)
    }

    fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The error of a code that is about the group.
    pub(crate) fn refused(&self, code: ErrorCode, message: Option<&str>) -> ClientError {
        ClientError::Refused {
            what: format!("group {}", self.group),
            code,
            message: message.map(str::to_owned),
        }
    }
}
