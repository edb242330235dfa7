//! The metadata service of an EC2 instance, version 2, as far as a spot notice, the region and the kind of machine go; and, at the
//! same address, what EC2 says of such machines' price, and ECS of a container's part of one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

const TOKEN: &str = "a-session-token";
const TOKEN_PLACE: &str = "/latest/api/token";
const REGION_PLACE: &str = "/latest/meta-data/placement/region";
/// Not the one that is taken where nothing says another.
pub const REGION: &str = "eu-north-1";
const NOTICE_PLACE: &str = "/latest/meta-data/spot/instance-action";
const LIFE_PLACE: &str = "/latest/meta-data/instance-life-cycle";
const KIND_PLACE: &str = "/latest/meta-data/instance-type";
const KIND: &str = "g6.2xlarge";
const ZONE_PLACE: &str = "/latest/meta-data/placement/availability-zone";
const ZONE: &str = "eu-north-1b";
/// Where ECS describes the container.
pub const CONTAINER_PLACE: &str = "/container";

/// Serves until its process ends.
pub struct Metadata {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    notice: Option<String>,
    /// How often it was asked for the notice, by one who had the token, and had none to give.
    quiet_looks: u64,
    /// What a machine of this kind costs in this zone, as EC2 says it; it is no spot machine without.
    spot_price: Option<&'static str>,
}

struct Request {
    method: String,
    place: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: String,
}

impl Metadata {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&stream, &served);
            }
        });
        Self { endpoint, state }
    }

    /// From now on, this machine is to be taken back.
    pub fn give_notice(&self) {
        let notice = r#"{"action": "terminate", "time": "2026-01-01T00:02:00Z"}"#;
        self.state.lock().unwrap().notice = Some(notice.to_owned());
    }

    /// This is a spot machine. EC2 refuses to say what it costs where that is empty.
    pub fn is_spot(&self, usd_per_hour: &'static str) {
        self.state.lock().unwrap().spot_price = Some(usd_per_hour);
    }

    pub fn quiet_looks(&self) -> u64 {
        self.state.lock().unwrap().quiet_looks
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) {
    let Some(request) = read(stream) else { return };
    let has = |name: &str, wanted: &dyn Fn(&str) -> bool| {
        request.headers.iter().any(|(known, value)| known == name && wanted(value))
    };
    let lives = |value: &str| value.parse::<u32>().is_ok_and(|seconds| (1..=21_600).contains(&seconds));
    let (status, content) = match (request.method.as_str(), request.place.as_str()) {
        ("PUT", TOKEN_PLACE) if has("x-aws-ec2-metadata-token-ttl-seconds", &lives) => {
            ("200 OK", TOKEN.to_owned())
        }
        ("PUT", TOKEN_PLACE) => ("400 Bad Request", String::new()),
        ("POST", "/") => of_ec2(&request, state.lock().unwrap().spot_price.unwrap_or_default()),
        ("GET", CONTAINER_PLACE) => {
            // Two such jobs fit on the machine.
            ("200 OK", r#"{"DockerId": "d", "Limits": {"CPU": 3072, "Memory": 12000}}"#.to_owned())
        }
        _ if !has("x-aws-ec2-metadata-token", &|token| token == TOKEN) => ("401 Unauthorized", String::new()),
        ("GET", REGION_PLACE) => ("200 OK", REGION.to_owned()),
        ("GET", KIND_PLACE) => ("200 OK", KIND.to_owned()),
        ("GET", ZONE_PLACE) => ("200 OK", ZONE.to_owned()),
        ("GET", LIFE_PLACE) => {
            let is_spot = state.lock().unwrap().spot_price.is_some();
            ("200 OK", if is_spot { "spot" } else { "on-demand" }.to_owned())
        }
        ("GET", NOTICE_PLACE) => {
            let mut state = state.lock().unwrap();
            state.quiet_looks += u64::from(state.notice.is_none());
            match &state.notice {
                Some(notice) => ("200 OK", notice.clone()),
                None => ("404 Not Found", String::new()),
            }
        }
        _ => ("404 Not Found", String::new()),
    };
    let length = content.len();
    // Who asked may be gone.
    _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\nConnection: close\r\n\r\n{content}"
    );
}

/// EC2's answer to who asks, signed, for the newest price of such a machine here, or for what it has.
fn of_ec2(request: &Request, price: &str) -> (&'static str, String) {
    let signed =
        |(name, value): &(String, String)| name == "authorization" && value.contains("/ec2/aws4_request");
    let asks = |parts: &[&str]| parts.iter().all(|part| request.body.split('&').any(|given| given == *part));
    let (kind, zone) = (format!("InstanceType.1={KIND}"), format!("AvailabilityZone={ZONE}"));
    let linux = "ProductDescription.1=Linux%2FUNIX";
    if !request.headers.iter().any(signed) || price.is_empty() {
        let refused =
            "<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors></Response>";
        return ("403 Forbidden", refused.to_owned());
    }
    let answer = if asks(&["Action=DescribeSpotPriceHistory", &kind, &zone, linux, "MaxResults=1"]) {
        format!(
            "<R><requestId>r</requestId><spotPriceHistorySet><item><instanceType>{KIND}</instanceType><spotPrice>{price}</spotPrice>\
             <availabilityZone>{ZONE}</availabilityZone></item></spotPriceHistorySet><nextToken/></R>"
        )
    } else if asks(&["Action=DescribeInstanceTypes", &kind]) {
        format!(
            "<R><requestId>r</requestId><instanceTypeSet><item><instanceType>{KIND}</instanceType><vCpuInfo><defaultVCpus>8</defaultVCpus>\
             </vCpuInfo><memoryInfo><sizeInMiB>32768</sizeInMiB></memoryInfo><gpuInfo><gpus><item><name>L4</name><count>1</count></item>\
             </gpus></gpuInfo></item></instanceTypeSet></R>"
        )
    } else {
        return ("400 Bad Request", request.body.clone());
    };
    ("200 OK", answer)
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines();
    let first = lines.next()?.ok()?;
    let (method, rest) = first.split_once(' ')?;
    let place = rest.split(' ').next()?;
    let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let headers: Vec<(String, String)> = headers.collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Request { method: method.to_owned(), place: place.to_owned(), headers, body })
}
