//! A failed assertion of the model leaves a recording that leads to it. Alone in its process,
//! because what is done at a panic is the process's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dispatch_model::{Config, Dispatcher, Input, Limits, RequestId, Time};
use io_tokio::observe::Observer;
use io_tokio::recorder::{Recorder, RecorderSettings, dump_at_panic};
use io_tokio::recording::{Did, Recording, Step, replay};

#[test]
fn failed_assertion_leaves_a_recording_that_leads_to_it() {
    let name = format!("lambda-dispatch-panic-{}.recording", std::process::id());
    let path = std::env::temp_dir().join(name);
    let settings = RecorderSettings { ring: 1 << 20, file: None };
    let mut recorder = Recorder::new(&settings).unwrap().unwrap();
    let (handle, to) = (recorder.handle(), path.clone());
    dump_at_panic(move || vec![(handle.clone(), to.clone())]);

    let config = Config::new(Limits::default()).unwrap();
    recorder.started(Time::ZERO, &config, 7);
    let mut model = Dispatcher::new(config, 7, Time::ZERO);
    let input = Input::RequestArrived { request: RequestId::new(0, 0), bytes: 1 };
    let panic = catch_unwind(AssertUnwindSafe(|| {
        // Its name is in use the second time.
        for millis in 1..3 {
            let now = Time::from_millis(millis);
            recorder.input(now, &input);
            model.handle_input(now, input);
            while let Some(output) = model.poll_output() {
                recorder.output(now, &output);
            }
            recorder.turn(now, &model);
        }
    }));
    assert!(panic.is_err());
    // Whatever panics later does not write over it.
    assert!(catch_unwind(|| panic!("something else")).is_err());

    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let divergence = replay(&Recording::read(&bytes).unwrap()).unwrap_err();
    assert!(matches!(divergence.did, Did::Panicked(_)), "{divergence}");
    assert_eq!(divergence.recorded, Some(Step::Input(input)));
    assert_eq!(divergence.at, Time::from_millis(2));
}
