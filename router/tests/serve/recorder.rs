//! What the router's model was told and did can be had from outside, and replays.

use std::fs;
use std::path::Path;

use dispatch_model::Output;
use io_tokio::recording::{Recording, Replayed, Step, replay};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::stage::{Stage, until};

async fn burst(stage: &Stage, count: u32) {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let http = stage.router.http;
        requests.spawn(async move { Client::connect(http).await.get("/sleep?ms=20").await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.unwrap().status, 200);
    }
    // A client may have its answer before the model has heard that it has.
    let running = async || stage.router.metric("dispatch_running_requests").await;
    until("the model has heard of all", async || running().await == 0.).await;
}

fn replayed(path: &Path) -> Replayed {
    let bytes = fs::read(path).unwrap();
    let recording = Recording::read(&bytes).unwrap();
    assert_eq!(recording.cut(), None);
    replay(&recording).unwrap_or_else(|divergence| panic!("{divergence}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn sigusr1_writes_a_recording_that_replays_with_identical_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    let settings =
        [&format!("recorder.dump={}", dump.display()), "pool.slots=4", "recorder.check=true"];
    let stage = Stage::demo(&settings).await;
    burst(&stage, 60).await;
    stage.router.signal(Signal::USR1);
    until("it is written", async || dump.exists()).await;
    let first = replayed(&dump);
    assert!(first.inputs > 120 && first.outputs > 60, "{first}");
    until("it says so", async || stage.router.log().contains("recording written")).await;

    // It goes on, and the next dump has more.
    fs::remove_file(&dump).unwrap();
    burst(&stage, 60).await;
    stage.router.signal(Signal::USR1);
    until("it is written again", async || dump.exists()).await;
    let second = replayed(&dump);
    assert!(second.inputs >= first.inputs + 120, "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn file_has_all_that_happened_from_the_first_output_to_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording");
    let settings = [
        &format!("recorder.file={}", file.display()),
        "recorder.ring=0",
        "pool.instances_min=1",
        "timeouts.drain_delay=100ms",
    ];
    let mut stage = Stage::demo(&settings).await;
    burst(&stage, 60).await;
    // Without a ring there is nothing to dump, which is no reason to end.
    stage.router.signal(Signal::USR1);
    until("it says so", async || stage.router.log().contains("see recorder.ring")).await;
    burst(&stage, 10).await;
    stage.router.signal(Signal::TERM);
    assert!(stage.router.end().await.success());
    let replayed = replayed(&file);
    assert_eq!((replayed.segments, replayed.outputs_after), (1, 0));
    assert!(replayed.inputs > 140, "{replayed}");
    let bytes = fs::read(&file).unwrap();
    let recording = Recording::read(&bytes).unwrap();
    let mut steps = recording.segments()[0].steps().map(|(_, step)| step);
    assert!(steps.any(|step| step == Step::Output(Output::Stopped)), "its end is in it");
}
