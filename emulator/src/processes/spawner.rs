//! The thread that starts processes.
//!
//! The kernel's parent-death signal, which [`exec_with_parent`](crate::exec_with_parent) asks for,
//! is sent when the *thread* that started the process ends. A runtime may retire its threads when
//! it likes; this one lives as long as the emulator.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Copies share the thread; it ends with the last of them.
#[derive(Clone, Debug)]
pub(super) struct Spawner {
    orders: mpsc::SyncSender<Order>,
}

#[derive(Debug)]
struct Order {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread. Must be called on the runtime that will wait for the processes.
    pub(super) fn start() -> io::Result<Self> {
        let (orders, incoming) = mpsc::sync_channel::<Order>(ORDERS_MAX);
        let runtime = Handle::current();
        thread::Builder::new().name("emulator-spawner".to_owned()).spawn(move || {
            let _entered = runtime.enter();
            for mut order in incoming {
                if order.reply.send(order.command.spawn()).is_err() {
                    tracing::debug!("a process was started for nobody and is killed again");
                }
            }
        })?;
        Ok(Self { orders })
    }

    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, child) = oneshot::channel();
        let ended = || io::Error::other("the thread that starts processes has ended");
        self.orders.try_send(Order { command, reply }).map_err(|_| ended())?;
        child.await.map_err(|_| ended())?
    }
}

/// The owner awaits each order before it gives the next.
const ORDERS_MAX: usize = 4;
