//! Several pools and routes in the settings: what is inherited, shared, refused and explained.

#![expect(clippy::unwrap_used, reason = "a test panics on what it does not expect")]

use std::process::Command;
use std::time::Duration;

use io_tokio::routes::NoRoute;
use lambda_dispatch::settings::{PoolPlan, Settings, SettingsErrors, explain, warnings};

fn read(text: &str) -> Result<Settings, SettingsErrors> {
    with_flags(text, &[])
}

fn with_flags(text: &str, flags: &[(&str, &str)]) -> Result<Settings, SettingsErrors> {
    Settings::read("r.toml", text, std::iter::empty(), flags)
}

fn pool<'s>(settings: &'s Settings, name: &str) -> &'s PoolPlan {
    settings.pool(name).unwrap()
}

fn names(settings: &Settings) -> Vec<&str> {
    settings.pools.iter().map(|pool| pool.name.as_str()).collect()
}

/// The pools that serve a request for `host` and `path`.
fn serves(settings: &Settings, host: &str, path: &str) -> Result<Vec<String>, NoRoute> {
    let route = settings.routes.find(host, path, &http::HeaderMap::new(), false)?;
    Ok(route.split.iter().map(|(_, share)| share.pool.clone()).collect())
}

const TWO: &str = r#"
[pool]
slots = 4
linger = "7s"
[pools.a]
function = "a"
[pools.b]
function = "b"
slots = 9
timeouts.queue = "3s"
[pools.b.timeouts]
idle = "8s"
"#;

#[test]
fn named_pool_inherits_all_but_the_function() {
    let text = TWO.replace("timeouts.queue = \"3s\"\n", "");
    let settings = read(&format!("{text}queue = \"3s\"\n[[route]]\npool = \"a\"")).unwrap();
    assert_eq!(names(&settings), ["a", "b"], "nothing says what function `default` would be");
    let (a, b) = (pool(&settings, "a"), pool(&settings, "b"));
    assert_eq!((a.config.slots, b.config.slots), (4, 9));
    assert_eq!(
        (a.config.linger, b.config.linger),
        (Duration::from_secs(7), Duration::from_secs(7))
    );
    assert_eq!(a.config.queue_timeout, Duration::from_secs(120));
    assert_eq!(b.config.queue_timeout, Duration::from_secs(3));

    let settings = with_flags(
        "[pools.a]\nfunction = \"a\"\n[[route]]\npool = \"a\"\n",
        &[("pool.slots", "5"), ("pools.a.linger", "9s"), ("pool.function", "main")],
    );
    let settings = settings.unwrap();
    assert_eq!(names(&settings), ["default", "a"]);
    let a = pool(&settings, "a");
    assert_eq!((a.config.slots, a.config.linger), (5, Duration::from_secs(9)));
}

#[test]
fn time_out_of_a_route_beats_its_pools_and_that_the_routers() {
    let text = r#"
timeouts.first_byte = "11s"
timeouts.idle = "12s"
[pools.a]
function = "a"
timeouts.idle = "13s"
[pools.b]
function = "b"
[[route]]
path = "/slow"
pools = { a = 1, b = 1 }
timeouts.total = "14s"
[[route]]
pool = "a"
timeouts.idle = "15s"
"#;
    let settings = read(text).unwrap();
    let patience = |path| {
        let route = settings.routes.find("x", path, &http::HeaderMap::new(), false).unwrap();
        route.split.iter().map(|(_, share)| share.patience).collect::<Vec<_>>()
    };
    let seconds = Duration::from_secs;
    let [a, b] = patience("/slow")[..] else { panic!() };
    assert_eq!((a.first_byte, a.idle, a.total), (seconds(11), seconds(13), Some(seconds(14))));
    assert_eq!((b.first_byte, b.idle, b.total), (seconds(11), seconds(12), Some(seconds(14))));
    let [rest] = patience("/")[..] else { panic!() };
    assert_eq!((rest.idle, rest.total), (seconds(15), None));
}

#[test]
fn without_routes_everything_is_for_the_default_pool() {
    let settings = read("pool.function = \"f\"\n[pools.a]\nfunction = \"a\"").unwrap();
    assert_eq!(serves(&settings, "anything", "/at/all"), Ok(vec!["default".to_owned()]));
    let text = warnings(&settings).join("\n");
    assert!(text.contains("pool a: no route leads to it"), "{text}");
}

#[test]
fn total_is_divided_by_weight_and_never_exceeded() {
    let text = r#"
[total]
instances = 100
queue_bytes = "10MiB"
queue_length = 1000
invokes_per_second = 50
[pool]
function = "f"
weight = 3
[pools.a]
function = "a"
weight = 1
[pools.small]
function = "s"
weight = 1
instances_max = 2
"#;
    let settings = read(text).unwrap();
    let of = |name| {
        let config = &pool(&settings, name).config;
        (config.instances_max, config.queue_bytes_max >> 20, config.queue_len_max)
    };
    assert_eq!(of("default"), (60, 6, 600));
    assert_eq!(of("a"), (20, 2, 200));
    assert_eq!(of("small"), (2, 2, 200), "a pool's own limit stays one");
    let rates = |name| {
        let config = &pool(&settings, name).config;
        (config.invokes_per_second, config.invokes_burst)
    };
    assert_eq!((rates("default"), rates("a")), ((30, 300), (10, 100)));
    let text = explain(&settings);
    for expected in [
        "pool.instances_max               = 60                           share of total.instances",
        "pools.a.instances_max            = 20                           share of total.instances",
        "pools.small.instances_max        = 2                            r.toml:16:1",
        "all pools together: at most 82 instances, 1,000 waiting requests in 10 MiB",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
}

#[test]
fn every_fault_has_its_line_and_column_and_a_remedy() {
    let text = r#"
[pools.shop]
function = "shop"
  slot = 3
slots = 0
[pools.shop.timeouts]
quue = "1s"
[pools."a b"]
function = "x"
[pools.nothing]
[[route]]
hots = "a"
pool = "shpo"
[[route]]
host = "a:80"
path = "x"
alias = "a b"
pools = { shop = 1, shop2 = "many" }
[[route]]
[[route]]
host = "a"
pool = "shop"
pools = { shop = 1 }
[[route]]
host = "*.b"
pool = "shop"
[[route]]
host = "*.B"
pool = "shop"
[[route]]
alias = "blue"
pools = { shop = 0 }
[[route]]
alias = "blue"
pool = "shop"
"#;
    let errors = read(text).unwrap_err();
    let said = errors.to_string();
    for expected in [
        "r.toml:4:3: there is no setting \"pools.shop.slot\"; did you mean slots?",
        "pools.shop.slots is \"0\" (r.toml:5:1); allowed: a whole number from 1 to 255",
        "r.toml:7:1: there is no setting \"pools.shop.timeouts.quue\"; did you mean timeouts.queue",
        "r.toml:8:8: \"a b\" is no name of a pool; allowed: 1 to 64 letters",
        "pools.nothing.function is not set",
        "r.toml:12:1: there is no setting \"route.hots\"; did you mean host?",
        "r.toml:13:1: there is no pool \"shpo\"; did you mean shop?",
        "route.host is \"a:80\" (r.toml:15:1); allowed: a host such as shop.example.com",
        "route.path is \"x\" (r.toml:16:1); allowed: a path such as /api",
        "route.alias is \"a b\" (r.toml:17:1); allowed: an alias has 1 to 64",
        "route.pools.shop2 is \"many\" (r.toml:18:21); allowed: a weight from 0 to 1000000",
        "r.toml:19:1: a route has either a pool, such as pool = \"shop\", or pools by weight",
        "r.toml:20:1: a route has either",
        "r.toml:27:1: this route is for host *.b, as is the one at r.toml:24:1",
        "r.toml:30:1: all pools of this route have the weight 0",
        "r.toml:33:1: this route has an alias but there is no routing.alias_header",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (text, expected) in [
        ("[pools.default]\nfunction = \"x\"", "not `default`, which is [pool]"),
        ("pools = 3", "there is no setting \"pools\""),
        ("pools.a = 3\npool.function = \"f\"", "r.toml:1:7: there is no setting \"pools.a\""),
        ("route = [1]\npool.function = \"f\"", "r.toml:1:10: there is no setting \"route\""),
        ("[pools.a]\nfunction = \"a\"", "pool.function is not set"),
        ("[pools.a]\nfunction = \"a\"\n[[route]]\npool = \"default\"", "pool.function is not set"),
        (
            "pool.function = \"f\"\ntotal.instances = 1\n[pools.a]\nfunction = \"a\"",
            "total.instances is 1, of which the pool default has no part",
        ),
        (
            "pool.function = \"f\"\npool.instances_min = 9\ntotal.instances = 8",
            "pool.instances_min is 9 and pool.instances_max is 8",
        ),
        ("pool.function = \"f\"\nrouting.alias_header = \"Host\"", "a header of your own"),
    ] {
        let said = read(text).unwrap_err().to_string();
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
}

#[test]
fn what_all_pools_inherit_is_wrong_once() {
    let said = read("[pool]\nslots = 0\n[pools.a]\nfunction = \"a\"\n[pools.b]\nfunction = \"b\"")
        .unwrap_err()
        .to_string();
    assert_eq!(said.matches("pool.slots is \"0\" (r.toml:2:1)").count(), 1, "{said}");
}

#[test]
fn aliases_need_a_header_and_what_is_odd_about_them_is_said() {
    let routes = "routing.alias_header = \"X-Lambda-Name\"\nrouting.alias_from = \"anyone\"\n\
                  [pool]\nfunction = \"f\"\n[[route]]\nalias = \"blue\"\npool = \"default\"\n";
    let settings = read(routes).unwrap();
    assert_eq!(serves(&settings, "x", "/"), Err(NoRoute::Path), "it names no alias");
    let text = warnings(&settings).join("\n");
    assert!(text.contains("every client chooses a route by x-lambda-name"), "{text}");
    let unused = routes.replace("alias = \"blue\"\n", "");
    let text = warnings(&read(&unused).unwrap()).join("\n");
    assert!(text.contains("no route has an alias"), "{text}");
}

#[test]
fn more_instances_than_an_account_has_are_warned_of() {
    let text = "[pool]\nfunction = \"f\"\ninstances_max = 900\n[pools.a]\nfunction = \"a\"";
    let said = warnings(&read(text).unwrap()).join("\n");
    assert!(said.contains("all pools together may have 1,800 instances"), "{said}");
    let bounded = format!("total.instances = 1500\n{text}");
    let said = warnings(&read(&bounded).unwrap()).join("\n");
    assert!(!said.contains("all pools together"), "{said}");
}

#[test]
fn example_means_what_the_book_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/several-functions.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let settings = read(&text).unwrap();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/several-functions.md");
    let (_, shown) = text.split_once("\n\n").unwrap();
    assert!(std::fs::read_to_string(page).unwrap().contains(shown), "it shows another one");
    assert_eq!(warnings(&settings), Vec::<String>::new());
    assert_eq!(names(&settings), ["default", "shop", "shop-canary"]);
    let to = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(serves(&settings, "shop.example.com", "/"), to(&["shop", "shop-canary"]));
    assert_eq!(serves(&settings, "shop.example.com:443", "/reports/1"), to(&["shop"]));
    assert_eq!(serves(&settings, "www.example.com", "/reports"), to(&["default"]));
    assert_eq!(serves(&settings, "example.org", "/"), Err(NoRoute::Host));

    let check = |flags: &[&str]| {
        let check = Command::new(env!("CARGO_BIN_EXE_lambda-dispatch"))
            .args(["check", "--config", file])
            .args(flags)
            .env_clear()
            .output()
            .unwrap();
        assert!(check.status.success(), "{check:?}");
        String::from_utf8(check.stdout).unwrap()
    };
    let said = check(&[]);
    for expected in [
        "pools.shop.slots                 = 20 ",
        "several-functions.toml:14:1",
        "pools.shop.instances_max         = 100 ",
        "pool.function                    = site ",
        "  host shop.example.com path /reports ",
        "    to shop-canary, 5 of 100",
        "      timeouts.first_byte          = 5m ",
        "pool shop: at most 100 instances x 20 slots = 2,000 requests at once",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }

    let all: serde_json::Value = serde_json::from_str(&check(&["--json"])).unwrap();
    assert_eq!(all["pools"]["shop"]["pool.slots"]["value"], "20");
    assert_eq!(all["pools"]["shop-canary"]["pool.slots"]["origin"], "default");
    assert_eq!(all["routes"][0]["path"], "/reports");
    assert_eq!(all["routes"][1]["pools"][1]["weight"], 5);
    let policy: serde_json::Value = serde_json::from_str(&check(&["--iam"])).unwrap();
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Action"], "lambda:InvokeFunction");
    let shop = "arn:aws:lambda:eu-west-1:123456789012:function:shop";
    assert_eq!(
        statement["Resource"],
        serde_json::json!([
            "arn:aws:lambda:*:*:function:site",
            format!("{shop}:canary"),
            format!("{shop}:live")
        ])
    );
}
