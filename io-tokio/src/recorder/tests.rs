use std::sync::atomic::AtomicU32;

use super::*;
use crate::recording::tests::life::Life;
use crate::recording::{Origin, Recording, Replayed, Segment, replay};

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("lambda-dispatch-recorder-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Counts the steps it is shown.
#[derive(Default)]
struct Count(u64);

impl Observer for Count {
    fn timeout(&mut self, _: Time) {
        self.0 += 1;
    }

    fn input(&mut self, _: Time, _: &Input) {
        self.0 += 1;
    }

    fn output(&mut self, _: Time, _: &Output) {
        self.0 += 1;
    }
}

fn recorder(ring: usize, file: Option<PathBuf>) -> Recorder {
    Recorder::new(&RecorderSettings { ring, file }).unwrap().unwrap()
}

fn replayed(bytes: &[u8]) -> Replayed {
    let recording = Recording::read(bytes).unwrap();
    assert_eq!(recording.cut(), None);
    replay(&recording).unwrap_or_else(|divergence| panic!("{divergence}"))
}

#[test]
fn dump_has_everything_until_the_ring_is_full() {
    let folder = Folder::new();
    let path = folder.file("dump");
    let recorder = recorder(8 << 20, None);
    let handle = recorder.handle();
    let mut life = Life::new(1, (recorder, Count::default()));
    life.turns(2_000);
    let dumped = handle.dump(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!((dumped.steps, dumped.bytes), (life.observer.1.0, bytes.len()));
    let replayed = replayed(&bytes);
    assert_eq!(replayed.inputs + replayed.timeouts + replayed.outputs, dumped.steps);
    // It goes on as if nothing had been.
    life.turns(100);
    assert!(handle.dump(&path).unwrap().steps > dumped.steps);
    self::replayed(&fs::read(&path).unwrap());
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn ring_that_has_wrapped_replays_from_its_checkpoint() {
    const RING: usize = 200_000;
    let folder = Folder::new();
    let path = folder.file("dump");
    let recorder = recorder(RING, None);
    let handle = recorder.handle();
    let mut life = Life::new(2, recorder);
    let mut checkpoints = 0;
    for _ in 0..20 {
        life.turns(3_000);
        handle.dump(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        replayed(&bytes);
        let recording = Recording::read(&bytes).unwrap();
        let segments = recording.segments();
        checkpoints += u32::from(matches!(segments[0].origin(), Origin::Checkpoint { .. }));
        // Two copies of a model, and a block that is not full, come on top.
        assert!(bytes.len() < RING + (128 << 10), "{} bytes", bytes.len());
        assert!(segments.iter().map(Segment::len).sum::<u64>() > 3_000);
    }
    assert!(checkpoints >= 10, "{checkpoints}");
}

#[test]
fn dump_in_the_middle_of_a_turn_replays_up_to_there() {
    struct Dumps(Handle, PathBuf, u64);
    impl Dumps {
        fn dump(&mut self) {
            self.2 += 1;
            if self.2.is_multiple_of(23) {
                self.0.dump(&self.1).unwrap();
                replayed(&fs::read(&self.1).unwrap());
            }
        }
    }
    impl Observer for Dumps {
        fn timeout(&mut self, _: Time) {
            self.dump();
        }
        fn input(&mut self, _: Time, _: &Input) {
            self.dump();
        }
        fn output(&mut self, _: Time, _: &Output) {
            self.dump();
        }
    }
    let folder = Folder::new();
    let recorder = recorder(1 << 20, None);
    let dumps = Dumps(recorder.handle(), folder.file("dump"), 0);
    Life::new(3, (recorder, dumps)).turns(500);
}

#[test]
fn file_has_everything_and_what_was_there_is_kept() {
    let folder = Folder::new();
    let path = folder.file("recording");
    fs::write(&path, "of the router before").unwrap();
    let recorder = recorder(0, Some(path.clone()));
    let handle = recorder.handle();
    let mut life = Life::new(4, (recorder, Count::default()));
    // Less than may wait to be written: here nothing is dropped, however slow the disk is.
    life.turns(10_000);
    assert!(matches!(handle.dump(&folder.file("dump")), Err(DumpError::Off)));
    let steps = life.observer.1.0;
    drop(life);
    let bytes = fs::read(&path).unwrap();
    let replayed = replayed(&bytes);
    assert_eq!(replayed.inputs + replayed.timeouts + replayed.outputs, steps);
    assert_eq!((replayed.segments, handle.dropped()), (1, 0));
    assert_eq!(fs::read(folder.file("recording.old")).unwrap(), b"of the router before");
}

#[test]
fn every_recording_is_kept_however_often_it_is_replaced() {
    let folder = Folder::new();
    let path = folder.file("recording");
    let names = ["recording.old", "recording.old.2", "recording.old.3"];
    for name in names {
        fs::write(&path, name).unwrap();
        drop(recorder(0, Some(path.clone())));
        fs::remove_file(&path).unwrap();
    }
    for name in names {
        assert_eq!(fs::read_to_string(folder.file(name)).unwrap(), name);
    }
}

/// `recorder.file = "/dev/null"`, of a router that runs as root.
#[test]
fn nothing_but_a_file_is_moved_away_or_replaced() {
    let folder = Folder::new();
    let (sub, socket, link) = (folder.file("folder"), folder.file("socket"), folder.file("link"));
    fs::create_dir(&sub).unwrap();
    let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    for path in [&sub, &socket, &link] {
        let before = fs::symlink_metadata(path).unwrap();
        let settings = RecorderSettings { ring: 0, file: Some(path.clone()) };
        let error = Recorder::new(&settings).unwrap_err().to_string();
        assert!(error.contains("no regular file"), "{error}");
        let error = recorder(1, None).handle().dump(path).unwrap_err().to_string();
        assert!(error.contains("no regular file"), "{error}");
        assert_eq!(fs::symlink_metadata(path).unwrap().file_type(), before.file_type());
    }
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 3, "nothing is left beside them");
}

#[test]
fn slow_disk_costs_steps_and_the_file_goes_on_with_a_new_segment() {
    let (file, mut write) = File::on_slow_disk();
    let tape = Arc::new(Mutex::new(Tape::new(0, Some(file))));
    let handle = Handle { tape: Arc::clone(&tape) };
    let mut life = Life::new(5, (Recorder { tape }, Count::default()));
    let mut bytes = Vec::new();
    while handle.dropped() == 0 {
        life.turns(100);
    }
    life.turns(5_000);
    bytes.extend(write());
    life.turns(20_000);
    bytes.extend(write());
    let dropped = handle.dropped();
    let steps = life.observer.1.0;
    drop(life);
    bytes.extend(write());
    let replayed = replayed(&bytes);
    assert!(replayed.segments >= 2, "{replayed}");
    assert!(dropped > 1_000, "{dropped}");
    let kept = replayed.inputs + replayed.timeouts + replayed.outputs;
    assert_eq!(kept + handle.dropped(), steps, "what is missing is counted");
}

#[test]
fn folder_that_is_not_there_is_named() {
    let path = PathBuf::from("/nonexistent/recording");
    let settings = RecorderSettings { ring: 0, file: Some(path.clone()) };
    let error = Recorder::new(&settings).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/recording"), "{error}");
    let error = recorder(1, None).handle().dump(&path).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/recording"), "{error}");
}
