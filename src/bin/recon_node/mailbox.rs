//! Streams of the middleware, looked into without waiting.

use futures::{FutureExt, Stream, StreamExt};
use r2r::{Node, QosProfile, ServiceRequest, WrappedServiceTypeSupport};

/// What has arrived and was not taken yet.
pub struct Mailbox<T>(Box<dyn Stream<Item = T> + Unpin>);

impl<T> Mailbox<T> {
    /// Returns the mailbox of a stream.
    pub fn new(stream: impl Stream<Item = T> + Unpin + 'static) -> Self {
        Self(Box::new(stream))
    }

    /// Returns the oldest item, if there is any.
    pub fn take(&mut self) -> Option<T> {
        self.0.next().now_or_never().flatten()
    }
}

/// Requests of a service.
pub type Requests<S> = Mailbox<ServiceRequest<S>>;

/// Returns the requests of a new service.
pub fn service<S>(node: &mut Node, name: &str) -> r2r::Result<Requests<S>>
where
    S: WrappedServiceTypeSupport + 'static,
{
    Ok(Mailbox::new(node.create_service::<S>(name, QosProfile::services_default())?))
}
