//! The prover protocol: `setup` reads the arguments and asks the service what it proves, `prove` brings a proof, `verify` has it
//! verified where the service can.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proofyard_prover::message::PUBLIC_VALUES_BYTES;
use proofyard_prover::{
    Failure, ProveOk, ProveRequest, Prover, SetupOk, SetupRequest, VerifyOk, VerifyRequest, Work,
    write_output,
};

use crate::http::{Http, Unwatched};
use crate::input;
use crate::job::JobRun;
use crate::protocols;
use crate::service::{About, Service, ServiceError};
use crate::settings::{Arguments, Settings};

/// A prover that has a proving service prove.
#[derive(Default)]
pub struct RemoteProver {
    files: PathBuf,
    ready: Option<Ready>,
}

struct Ready {
    settings: Settings,
    http: Http,
    service: Box<dyn Service>,
    about: About,
}

/// How long `setup` may ask the service, which may have to set up the program first.
const SETUP: Duration = Duration::from_secs(600);
/// How long `verify` may ask the service.
const VERIFY: Duration = Duration::from_secs(600);

impl RemoteProver {
    /// Files that the arguments name without a folder are in this one.
    pub fn with_files(folder: impl Into<PathBuf>) -> RemoteProver {
        RemoteProver { files: folder.into(), ready: None }
    }

    fn ready(&self) -> Result<&Ready, Failure> {
        self.ready.as_ref().ok_or_else(|| Failure::permanent("there was no setup, which names the service"))
    }
}

impl Prover for RemoteProver {
    fn setup(&mut self, request: &SetupRequest) -> Result<SetupOk, Failure> {
        let mut arguments = Arguments::new(&request.arguments);
        let mut settings = Settings::read(&mut arguments, &self.files);
        let known = protocols::read(&mut arguments, &settings);
        arguments.finish()?;
        let Some((header, service)) = known else {
            return Err(Failure::permanent("the prover's arguments name no protocol"));
        };
        let token = settings.token.take().map(|token| match header {
            "authorization" => (header, format!("Bearer {token}")),
            _ => (header, token),
        });
        let http = Http::new(settings.endpoint.clone(), token).map_err(Failure::transient)?;
        let mut watch = Unwatched;
        let about = service.about(&mut http.line(&mut watch, Instant::now() + SETUP));
        let about = about.map_err(|trouble| match trouble {
            ServiceError::Unknown(message) => {
                Failure::permanent(format!("{message}; does the service speak this protocol?"))
            }
            trouble => trouble.into_failure(),
        })?;
        let ok = SetupOk {
            verification_key: about.verification_key.clone(),
            proof_system: Some(settings.proof_system.clone().unwrap_or_else(|| about.proof_system.clone())),
            security_bits: settings.security_bits,
            trusted_setup: settings.trusted_setup.or(about.trusted_setup),
            cancel: true,
        };
        self.ready = Some(Ready { settings, http, service, about });
        Ok(ok)
    }

    fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure> {
        let Ready { settings, http, service, about } = self.ready()?;
        let input = input::read(&request.inputs, settings.input)?;
        let job = JobRun::new(http, &**service, settings, work, request, input);
        let proof = job.run(request.resume.as_deref())?;
        if proof.bytes.is_empty() {
            return Err(Failure::transient("the service answered with an empty proof"));
        }
        let path = write_output(&request.output_dir, "proof.bin", &proof.bytes)?;
        let public_values = proof.public_values.filter(|values| values.len() <= PUBLIC_VALUES_BYTES);
        Ok(ProveOk {
            proof: path,
            verification_key: proof.verification_key.or_else(|| about.verification_key.clone()),
            cycles: proof.cycles,
            public_values: public_values.map(hex::encode),
            ..ProveOk::default()
        })
    }

    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure> {
        let Ready { settings, http, service, .. } = self.ready()?;
        let (proof, input) = (fs::read(&request.proof)?, input::read(&request.inputs, settings.input)?);
        let mut watch = Unwatched;
        let mut line = http.line(&mut watch, Instant::now() + VERIFY);
        let key = request.verification_key.as_deref();
        let public_values = service.verify(&mut line, &proof, &input, key);
        let public_values = public_values.map_err(ServiceError::into_failure)?;
        if public_values.len() > PUBLIC_VALUES_BYTES {
            return Err(Failure::permanent(format!(
                "the proof has {} bytes of public values, and {PUBLIC_VALUES_BYTES} are allowed",
                public_values.len()
            )));
        }
        Ok(VerifyOk::new(hex::encode(public_values)))
    }
}
