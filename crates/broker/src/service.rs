//! What a node does for the other nodes of its cluster: the calls of the internal port.

use crate::dispatch;
use crate::internal::message::{Ask, Forwarded, Hello, Tell};
use crate::internal::{Serve, Telling, failed};
use crate::link::Link;
use crate::response::{Answer, Outcome, frame_bytes};
use crate::state::Shared;
use bytes::Bytes;
use highwater_env::Env;
use highwater_wire::ErrorCode;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

impl<E: Env> Serve for Shared<E> {
    fn greet(&self, peer: &Hello) -> Hello {
        let founded = self.cluster.quorum().is_bootstrapped();
        let own = Hello::new(self.store.cluster_id(), self.config.node_id.0, self.store.disk_id(), founded);
        Hello { refusal: self.cluster.turn_away(peer).unwrap_or_default(), ..own }
    }

    fn serve(self: Arc<Self>, _from: &Hello, ask: Ask) -> Telling {
        Box::pin(async move {
            match ask {
                Ask::Raft(request) => Tell::Raft(self.cluster.quorum().handle(request).await),
                Ask::Forward(frame) => serve_forwarded(&self, frame).await,
                ask => self.cluster.serve(ask).await,
            }
        })
    }
}

/// Carries out a client's request that another node sent on.
async fn serve_forwarded<E: Env>(shared: &Arc<Shared<E>>, frame: Bytes) -> Tell {
    if shared.cluster.controller() != Some(shared.config.node_id) {
        return shared.cluster.not_controller();
    }
    // The connection is the other node's affair; this stands for it.
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let link = Link::new(nobody, 0, shared.env.clock().now());
    let outcome = match dispatch::begin_forwarded(shared, &link, frame) {
        Answer::Ready(outcome) => outcome,
        Answer::Pending { work, .. } => work.await,
    };
    match outcome {
        Outcome::Respond(response) => Tell::Forwarded(Forwarded {
            frame: frame_bytes(response.frame),
            applied: shared.cluster.committed_index(),
        }),
        Outcome::Silent => failed(ErrorCode::INVALID_REQUEST, "a request without an answer was sent on"),
        Outcome::Close(problem) => failed(ErrorCode::INVALID_REQUEST, problem),
    }
}
