//! What [`doctor`](crate::doctor) asks: may we invoke this function, and how is it configured.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::credential_feature::AwsCredentialFeature as Source;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::Credentials;
use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::types::{InvocationType, SnapStartApplyOn, SnapStartOptimizationStatus, State};
use io_tokio::payload::Plaintext;
use tokio::time::timeout;

use crate::doctor::facts::{Access, Answer, Configuration, Extension, Said, Silence};
use crate::settings::{Aws, FunctionName};

use super::transport::Transport;
use super::{AwsError, LambdaInvoker, loaded, whole};

/// Asks the Lambda API, and gives up soon.
#[derive(Clone, Debug)]
pub(crate) struct Looker {
    client: Client,
    patience: Duration,
}

impl Looker {
    /// Finds region and credentials as [`LambdaInvoker::connect`] does, and says what it found.
    /// Later each answer may take `patience`.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) async fn connect(aws: &Aws, patience: Duration) -> Result<(Self, Access), AwsError> {
        let (shared, credentials) = loaded(aws).await?;
        let access = access(aws, &shared, &credentials);
        // What was found is kept: asking for it again for each call would take its time again.
        let config =
            aws_sdk_lambda::config::Builder::from(&shared).credentials_provider(credentials);
        let transport = Transport::with_system_authorities()?;
        let invoker = LambdaInvoker::new(config, aws.endpoint.as_deref(), transport);
        Ok((Self { client: invoker.client, patience }, access))
    }

    /// Asks all there is to ask about a function, at once.
    pub(crate) async fn look(&self, function: &FunctionName) -> Said {
        let (name, client, patience) = (function.as_str(), &self.client, self.patience);
        let (dry_run, configuration, reserved, account) = tokio::join!(
            in_time(
                patience,
                client.invoke().function_name(name).invocation_type(InvocationType::DryRun).send()
            ),
            in_time(patience, client.get_function_configuration().function_name(name).send()),
            // Reserved for the function, whatever its version.
            in_time(
                patience,
                client.get_function_concurrency().function_name(function.unqualified()).send()
            ),
            in_time(patience, client.get_account_settings().send()),
        );
        Said {
            dry_run: dry_run.map(|_| ()),
            configuration: configuration.map(|it| configuration_of(&it)),
            reserved: reserved.map(|it| it.reserved_concurrent_executions().and_then(natural)),
            unreserved: account.and_then(|it| {
                let limit = it.account_limit().and_then(|it| it.unreserved_concurrent_executions());
                let nothing = || Silence::Other("the answer has no concurrency".to_owned());
                limit.and_then(natural).ok_or_else(nothing)
            }),
        }
    }
}

async fn in_time<T, E: ProvideErrorMetadata + std::error::Error + 'static>(
    patience: Duration,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Answer<T> {
    let said = timeout(patience, call).await;
    let said = said.map_err(|_| Silence::Unreachable(format!("no answer within {patience:?}")));
    said?.map_err(|error| silence(&error))
}

fn silence<E: ProvideErrorMetadata + std::error::Error + 'static>(
    error: &SdkError<E, HttpResponse>,
) -> Silence {
    match error {
        SdkError::ServiceError(refusal) => {
            let status = refusal.raw().status().as_u16();
            let Some(code) = error.code() else {
                return match status {
                    429 | 500.. => Silence::Other(format!("{status}")),
                    _ => Silence::Unreachable(format!(
                        "what answers there, with status {status}, is not the Lambda API"
                    )),
                };
            };
            let said = format!("{status} {code}: {}", error.message().unwrap_or_default());
            match code {
                "AccessDeniedException" => Silence::Denied(said),
                "ResourceNotFoundException" => Silence::Missing(said),
                "ExpiredTokenException"
                | "IncompleteSignatureException"
                | "InvalidClientTokenId"
                | "InvalidSignatureException"
                | "MissingAuthenticationTokenException"
                | "UnrecognizedClientException" => Silence::Untrusted(said),
                _ => Silence::Other(said),
            }
        }
        SdkError::DispatchFailure(failure) => Silence::Unreachable(
            failure.as_connector_error().map_or_else(|| whole(error), |error| whole(error)),
        ),
        SdkError::ConstructionFailure(_)
        | SdkError::ResponseError(_)
        | SdkError::TimeoutError(_)
        | _ => Silence::Other(whole(error)),
    }
}

fn configuration_of(it: &GetFunctionConfigurationOutput) -> Configuration {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let snap_start = it.snap_start();
    let state = it.state().map(State::as_str);
    let update = it.last_update_status().map(|status| status.as_str());
    Configuration {
        architecture: text(it.architectures().first().map(|it| it.as_str())),
        has_wrapper: variables_of(it)
            .map(|all| all.is_some_and(|all| all.contains_key("AWS_LAMBDA_EXEC_WRAPPER"))),
        extension: extension_of(it),
        in_vpc: it.vpc_config().is_some_and(|vpc| vpc.vpc_id().is_some_and(|id| !id.is_empty())),
        last_update: (text(update), text(it.last_update_status_reason())),
        memory_mb: it.memory_size().and_then(natural).map_or(0, u64::from),
        package: text(it.package_type().map(|it| it.as_str())),
        per_tenant: it.tenancy_config().is_some(),
        runtime: it.runtime().map(|it| it.as_str().to_owned()),
        snap_start: snap_start.and_then(|it| it.apply_on())
            == Some(&SnapStartApplyOn::PublishedVersions),
        has_snapshot: snap_start.and_then(|it| it.optimization_status())
            == Some(&SnapStartOptimizationStatus::On),
        state: (text(state), text(it.state_reason())),
        timeout: Duration::from_secs(it.timeout().and_then(natural).map_or(0, u64::from)),
        version: text(it.version()),
    }
}

/// The function's variables, if it has any; `None` if they cannot be decrypted.
fn variables_of(it: &GetFunctionConfigurationOutput) -> Option<Option<&HashMap<String, String>>> {
    let environment = it.environment();
    let is_seen = environment.is_none_or(|environment| environment.error().is_none());
    is_seen.then(|| environment.and_then(|environment| environment.variables()))
}

/// The extension's own reading of the function's variables. Nothing else of them is kept: there
/// are secrets among them.
fn extension_of(it: &GetFunctionConfigurationOutput) -> Option<Result<Extension, String>> {
    let variables = variables_of(it)?;
    let settings = lambda_dispatch_extension::settings::Settings::read(|name| {
        // Lambda's own, which it sets in each environment.
        let lambda = (name == "AWS_LAMBDA_RUNTIME_API").then(|| "127.0.0.1:9001".to_owned());
        lambda.or_else(|| variables?.get(name).cloned())
    });
    Some(settings.map_err(|error| error.to_string()).map(|settings| Extension {
        linger: settings.lifecycle.linger,
        networks: settings.router_networks,
        plaintext: settings.plaintext == Plaintext::Allowed,
        wire_v1: settings.wire_v1,
    }))
}

fn access(aws: &Aws, shared: &SdkConfig, credentials: &Credentials) -> Access {
    let from = credentials.get_property::<Vec<Source>>().and_then(|all| all.last());
    let is_session = credentials.session_token().is_some();
    Access {
        region: shared.region().map(ToString::to_string).unwrap_or_default(),
        endpoint: aws.endpoint.clone(),
        access_key: shortened(credentials.access_key_id()),
        source: from.map_or("somewhere that the AWS client does not name", source),
        runs_out: is_session && from == Some(&Source::CredentialsEnvVars),
    }
}

/// `AKIA…MPLE`: enough to know it by.
fn shortened(key: &str) -> String {
    let kind: String = key.chars().take(4).collect();
    let end = key.len().checked_sub(4).filter(|end| *end > 8).and_then(|end| key.get(end..));
    format!("{kind}…{}", end.unwrap_or_default())
}

/// What the AWS client found, in words.
fn source(from: &Source) -> &'static str {
    let known = SOURCES.iter().find(|(source, _)| source == from);
    known.map_or("another provider of the AWS client", |(_, words)| words)
}

fn natural(number: i32) -> Option<u32> {
    u32::try_from(number).ok()
}

const SOURCES: &[(Source, &str)] = &[
    (Source::CredentialsEnvVars, "the environment (AWS_ACCESS_KEY_ID)"),
    (Source::CredentialsEnvVarsStsWebIdToken, IRSA),
    (Source::CredentialsStsAssumeRoleWebId, IRSA),
    (Source::CredentialsProfileStsWebIdToken, IRSA),
    (Source::CredentialsProfile, PROFILE),
    (Source::CredentialsProfileSourceProfile, PROFILE),
    (Source::CredentialsStsAssumeRole, "a role that was assumed by a profile"),
    (Source::CredentialsHttp, "the container's role (ECS task role, or EKS Pod Identity)"),
    (Source::CredentialsImds, "the role of the EC2 instance"),
];

const IRSA: &str = "a web identity token (IAM role of a pod)";
const PROFILE: &str = "a profile in the AWS configuration files";

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_lambda::operation::invoke::InvokeError;
    use aws_sdk_lambda::types::{EnvironmentError, EnvironmentResponse};

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_not_waited_for() {
        let never = std::future::pending::<Result<(), SdkError<InvokeError, HttpResponse>>>();
        let said = in_time(Duration::from_secs(10), never).await;
        assert_eq!(said, Err(Silence::Unreachable("no answer within 10s".to_owned())));
    }

    #[test]
    fn a_wrapper_is_seen_where_variables_are() {
        let environment = EnvironmentResponse::builder;
        let refused = EnvironmentError::builder().error_code("AccessDeniedException").build();
        for (environment, has_wrapper) in [
            (None, Some(false)),
            (Some(environment().variables("PORT", "8080")), Some(false)),
            (Some(environment().variables("AWS_LAMBDA_EXEC_WRAPPER", "/opt/w")), Some(true)),
            (Some(environment().error(refused)), None),
        ] {
            let environment = environment.map(|it| it.build());
            let said = GetFunctionConfigurationOutput::builder().set_environment(environment);
            assert_eq!(configuration_of(&said.build()).has_wrapper, has_wrapper);
        }
    }

    #[test]
    fn a_key_is_shown_by_its_ends() {
        for (key, shown) in [
            ("AKIAIOSFODNN7EXAMPLE", "AKIA…MPLE"),
            ("AKIA12345678", "AKIA…"),
            ("x", "x…"),
            ("", "…"),
            ("ключ-ключ-ключ", "ключ…"),
        ] {
            assert!(shortened(key).starts_with(shown), "{key}: {}", shortened(key));
        }
    }
}
