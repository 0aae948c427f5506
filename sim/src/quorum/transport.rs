//! Calls between members, as framed bytes over the simulated network.

use super::lock;
use crate::executor::{SimEnv, SimListener, SimStream};
use bytes::Bytes;
use highwater_env::{Env, Listener, Network, Purpose, Rng, sleep};
use highwater_quorum::{BoxFuture, MAX_FRAME_BYTES, Peer, Quorum, Transport};
use highwater_types::BrokerId;
use rand::RngExt;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The most connections to one member that are kept for the next call.
const IDLE: usize = 4;

/// Calls other members.
pub struct Caller(Arc<Inner>);

struct Inner {
    env: SimEnv,
    rng: Mutex<Rng>,
    idle: Mutex<BTreeMap<BrokerId, Vec<SimStream>>>,
    repeat_one_in: u32,
    repeat_after: Duration,
}

impl Caller {
    /// Calls from this node, of which one in so many arrives once more, later and on another connection.
    pub fn new(env: &SimEnv, repeat_one_in: u32, repeat_after: Duration) -> Self {
        let rng = Mutex::new(env.entropy(Purpose::User(7)));
        let (env, idle) = (env.clone(), Mutex::default());
        Self(Arc::new(Inner { env, rng, idle, repeat_one_in, repeat_after }))
    }
}

impl Inner {
    async fn call(&self, to: BrokerId, peer: &Peer, request: &Bytes) -> io::Result<Bytes> {
        let idle = lock(&self.idle).entry(to).or_default().pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => connect(&self.env, peer).await?,
        };
        write(&mut stream, request).await?;
        let answer = read(&mut stream).await?;
        let mut idle = lock(&self.idle);
        let idle = idle.entry(to).or_default();
        if idle.len() < IDLE {
            idle.push(stream);
        }
        Ok(answer)
    }

    /// Sends a call again, out of its order.
    fn repeat(&self, peer: &Peer, request: &Bytes) {
        let after = {
            let mut rng = lock(&self.rng);
            if self.repeat_one_in == 0 || rng.random_range(0..self.repeat_one_in) > 0 {
                return;
            }
            self.repeat_after.mul_f64(rng.random_range(0.0..1.0))
        };
        let (env, peer, request) = (self.env.clone(), peer.clone(), request.clone());
        let late = async move {
            sleep(env.clock(), after).await;
            if let Ok(mut stream) = connect(&env, &peer).await
                && write(&mut stream, &request).await.is_ok()
            {
                let _ = read(&mut stream).await;
            }
        };
        self.env.spawn("late-call", late).detach();
    }
}

impl Transport for Caller {
    fn call(&self, to: BrokerId, peer: &Peer, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>> {
        let (inner, peer) = (Arc::clone(&self.0), peer.clone());
        Box::pin(async move {
            inner.repeat(&peer, &request);
            inner.call(to, &peer, &request).await
        })
    }
}

async fn connect(env: &SimEnv, peer: &Peer) -> io::Result<SimStream> {
    let addresses = env.network().resolve(&peer.host, peer.port).await?;
    let address = addresses.first().ok_or(io::ErrorKind::NotFound)?;
    env.network().connect(*address).await
}

async fn write(stream: &mut SimStream, frame: &Bytes) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(frame).await?;
    stream.flush().await
}

async fn read(stream: &mut SimStream) -> io::Result<Bytes> {
    let length = stream.read_u32().await? as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame.into())
}

/// Answers the calls that come to a member.
pub async fn serve(env: SimEnv, listener: SimListener, quorum: Quorum<SimEnv>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let quorum = quorum.clone();
        let connection = async move {
            while let Ok(request) = read(&mut stream).await {
                let answer = quorum.handle(request).await;
                if write(&mut stream, &answer).await.is_err() {
                    return;
                }
            }
        };
        env.spawn("calls", connection).detach();
    }
}
