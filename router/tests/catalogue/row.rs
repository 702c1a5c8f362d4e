//! One row of the catalogue: bytes that a client sends, and what may come of them.

/// What a client sends and what is expected. In the bytes, `{t}` stands for the row's own target
/// and `{s}` for a whole request that only a second reading of the bytes would see.
#[derive(Debug)]
pub(crate) struct Row {
    /// The number of the input in the catalogue, with a letter where it has several forms.
    pub(crate) number: &'static str,
    pub(crate) name: &'static str,
    send: Vec<u8>,
    /// What any proxy may do.
    pub(crate) may: May,
    /// The status with which this router answers.
    pub(crate) status: u16,
    /// Whether others are not asked for it: it is a promise of ours.
    pub(crate) is_ours: bool,
}

/// What a proxy may do with a row.
#[derive(Clone, Debug)]
pub(crate) enum May {
    /// Refuse it as the client's fault; nothing of it reaches the app.
    Refuse,
    /// The same, but the app may have seen a request that was then cut.
    RefuseBody,
    /// Pass it on as one request.
    Pass(Passed),
    /// Either.
    RefuseOrPass(Passed),
    /// Answer with a gateway's failure: the app has failed, and nothing of its answer may pass.
    FailApp,
    /// Answer with this status, and with these bytes in the answer and without those.
    Answer { status: u16, has: Vec<Vec<u8>>, lacks: Vec<Vec<u8>> },
    /// Either of both: this is then the end of the answer.
    FailOrAnswer(Vec<u8>),
    /// Cut the answer, so that it cannot be taken for a whole one.
    CutAnswer,
}

/// How a request looks at the app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    /// What its head has, in this order; upper and lower case do not matter.
    pub(crate) has: Vec<Vec<u8>>,
    /// What its head does not have.
    pub(crate) lacks: Vec<Vec<u8>>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Row {
    /// A row of which the app may see nothing.
    pub(crate) fn refused(
        number: &'static str,
        name: &'static str,
        send: impl AsRef<[u8]>,
        status: u16,
    ) -> Self {
        Self {
            number,
            name,
            send: send.as_ref().to_vec(),
            may: May::Refuse,
            status,
            is_ours: false,
        }
    }

    /// A row whose body is broken.
    pub(crate) fn broken(number: &'static str, name: &'static str, body: &str) -> Self {
        let head = "POST {t} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let send = format!("{head}{body}").into_bytes();
        Self { number, name, send, may: May::RefuseBody, status: 400, is_ours: false }
    }

    /// A row that is legal.
    pub(crate) fn passed(
        number: &'static str,
        name: &'static str,
        send: impl AsRef<[u8]>,
        has: &[&[u8]],
        lacks: &[&[u8]],
    ) -> Self {
        let passed = Passed { has: owned(has), lacks: owned(lacks), body: None };
        let may = May::Pass(passed);
        Self { number, name, send: send.as_ref().to_vec(), may, status: 200, is_ours: false }
    }

    /// A row about what an app answers, which closes its connection after that.
    pub(crate) fn answer(
        number: &'static str,
        name: &'static str,
        answer: impl AsRef<[u8]>,
        may: May,
        status: u16,
    ) -> Self {
        let hex: String = answer.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let send =
            format!("GET {{t}}/answer/{hex} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        Self { number, name, send: send.into_bytes(), may, status, is_ours: false }
    }

    pub(crate) fn body(mut self, bytes: &str) -> Self {
        let (May::Pass(passed) | May::RefuseOrPass(passed)) = &mut self.may else {
            panic!("a body in {:?}", self.may)
        };
        passed.body = Some(bytes.into());
        self
    }

    /// Refusing it is right as well; this router answers with `status`.
    pub(crate) fn or_refused(mut self, status: u16) -> Self {
        let May::Pass(passed) = self.may else { panic!("{:?} is refused anyway", self.may) };
        self.may = May::RefuseOrPass(passed);
        self.status = status;
        self
    }

    /// Passing it on is right as well, with this body if it is said.
    pub(crate) fn or_passed(mut self, body: Option<&str>) -> Self {
        let body = body.map(|body| body.as_bytes().to_vec());
        self.may = May::RefuseOrPass(Passed { body, ..Passed::default() });
        self
    }

    /// An answer that may pass as well, and then ends with `body`; this router's is `status`.
    pub(crate) fn or_answered(mut self, body: &str, status: u16) -> Self {
        self.may = May::FailOrAnswer(body.into());
        self.status = status;
        self
    }

    pub(crate) fn ours(mut self) -> Self {
        self.is_ours = true;
        self
    }

    /// `part` of a head, with the row's target in it.
    pub(crate) fn filled(&self, part: &[u8]) -> Vec<u8> {
        replaced(part, b"{t}", self.target().as_bytes()).to_ascii_lowercase()
    }

    /// What is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let smuggled = format!("GET {} HTTP/1.1\r\nHost: test\r\n\r\n", self.smuggled());
        let bytes = replaced(&self.send, b"{t}", self.target().as_bytes());
        replaced(&bytes, b"{s}", smuggled.as_bytes())
    }

    /// The target of the row's own request, which no other row's begins with.
    pub(crate) fn target(&self) -> String {
        format!("/row-{}-", self.number)
    }

    /// The target of a request that nobody may see.
    pub(crate) fn smuggled(&self) -> String {
        format!("/smuggled-{}-", self.number)
    }
}

fn owned(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.to_vec()).collect()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, more)) = rest.split_first() {
        if let Some(more) = rest.strip_prefix(from) {
            all.extend_from_slice(to);
            rest = more;
        } else {
            all.push(*first);
            rest = more;
        }
    }
    all
}
