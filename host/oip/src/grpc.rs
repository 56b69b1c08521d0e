//! `inference.GRPCInferenceService`.

mod describe;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};

use crate::admitted::Admitted;
use crate::answer::status;
use crate::datatype;
use crate::error::{RequestError, TensorFault};
use crate::proto::grpc_inference_service_server::GrpcInferenceService;
use crate::proto::infer_parameter::ParameterChoice;
use crate::proto::model_infer_request::InferInputTensor;
use crate::proto::model_infer_response::InferOutputTensor;
use crate::proto::repository_index_response::ModelIndex;
use crate::proto::{
    InferParameter, InferTensorContents, ModelConfigRequest, ModelConfigResponse,
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse,
    RepositoryIndexRequest, RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use crate::request::{
    self, CLASSIFICATION, Data, InferRequest, InferResponse, Input, Parameter, Parameters,
    RequestedOutput,
};
use crate::service::{EXTENSIONS, SERVER, Service, VERSION};

/// The gRPC service.
pub(crate) struct Grpc(pub(crate) Arc<Service>);

#[tonic::async_trait]
impl GrpcInferenceService for Grpc {
    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        let ready = self.0.ready();
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let target = self.0.catalogue().find(&name, Some(&version));
        let ready = target.is_ok() && self.0.ready();
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: VERSION.to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let target = self.0.catalogue().find(&name, Some(&version));
        let target = target.map_err(|error| status(&error))?;
        Ok(Response::new(describe::metadata(target)))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        let ModelConfigRequest { name, version } = request.into_inner();
        let target = self.0.catalogue().find(&name, Some(&version));
        let target = target.map_err(|error| status(&error))?;
        Ok(Response::new(ModelConfigResponse {
            config: Some(describe::config(target)),
        }))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        let counted = self.0.statistics(&name, Some(&version));
        let counted = counted.map_err(|error| status(&error))?;
        Ok(Response::new(ModelStatisticsResponse {
            model_stats: counted.into_iter().map(describe::statistics).collect(),
        }))
    }

    async fn repository_index(
        &self,
        _: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let index = self.0.catalogue().index().into_iter();
        let models = index.map(|(name, version)| ModelIndex {
            name,
            version,
            state: "READY".to_owned(),
            reason: String::new(),
        });
        Ok(Response::new(RepositoryIndexResponse {
            models: models.collect(),
        }))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let admitted = request.extensions().get::<Admitted>().cloned();
        let admitted = admitted.ok_or_else(|| status(&RequestError::Panicked))?;
        let message = request.into_inner();
        let answer = self
            .0
            .blocking(&admitted, move |service, deadline| {
                let version = Some(message.model_version.as_str());
                let target = service.catalogue().find(&message.model_name, version)?;
                service.infer(
                    &target,
                    deadline,
                    || read(message),
                    |response, _| Ok(write(response)),
                )
            })
            .await;
        answer.map(Response::new).map_err(|error| status(&error))
    }
}

/// Reads the request from a message.
pub(crate) fn read(message: ModelInferRequest) -> Result<InferRequest, RequestError> {
    let (raw, inputs) = (message.raw_input_contents.len(), message.inputs.len());
    if raw != 0 && raw != inputs {
        return Err(RequestError::RawCount { raw, inputs });
    }
    let raw = message.raw_input_contents.into_iter().map(Some);
    let raw = raw.chain(std::iter::repeat(None));
    let inputs = message.inputs.into_iter().zip(raw).map(|(input, raw)| {
        let name = input.name.clone();
        match read_input(input, raw) {
            Ok(data) => Ok(Input { name, data }),
            Err(source) => Err(RequestError::Input { name, source }),
        }
    });
    let outputs = message.outputs.into_iter().map(|output| {
        let name = output.name;
        if let Err(source) = request::check_tensor_parameters(output.parameters.keys()) {
            return Err(RequestError::Output { name, source });
        }
        let mut parameters = output.parameters;
        let classes = parameters.remove(CLASSIFICATION).map(parameter);
        Ok(RequestedOutput {
            name,
            binary: None,
            classes: request::classes(classes.as_ref())?,
        })
    });
    Ok(InferRequest {
        inputs: inputs.collect::<Result<_, _>>()?,
        outputs: outputs.collect::<Result<_, _>>()?,
        id: message.id,
        parameters: read_parameters(message.parameters)?,
    })
}

fn read_parameters(given: HashMap<String, InferParameter>) -> Result<Parameters, RequestError> {
    Parameters::read(given.into_iter().map(|(name, p)| (name, parameter(p))))
}

fn parameter(given: InferParameter) -> Parameter {
    match given.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Parameter::Bool(value),
        Some(ParameterChoice::Int64Param(value)) => Parameter::Whole(value.into()),
        Some(ParameterChoice::Uint64Param(value)) => Parameter::Whole(value.into()),
        Some(ParameterChoice::StringParam(value)) => Parameter::Text(value),
        Some(ParameterChoice::DoubleParam(_)) | None => Parameter::Other,
    }
}

fn read_input(input: InferInputTensor, raw: Option<Bytes>) -> Result<Data, TensorFault> {
    request::check_tensor_parameters(input.parameters.keys())?;
    let shape = request::sizes(&input.shape)?;
    match (raw, input.contents) {
        (Some(bytes), None) => request::from_raw(&input.datatype, shape, bytes),
        (None, Some(contents)) => from_contents(&input.datatype, shape, contents),
        (Some(_), Some(_)) => Err(TensorFault::Twice),
        (None, None) => Err(TensorFault::NoData),
    }
}

/// Reads the elements from the list of their type; the other lists must be empty.
fn from_contents(
    datatype: &str,
    shape: Vec<usize>,
    contents: InferTensorContents,
) -> Result<Data, TensorFault> {
    use hotshoe_infer::ElementType as E;
    let lists = lists(&contents);
    if datatype == datatype::BYTES {
        let want = request::samples(&shape)?;
        let elements = contents.bytes_contents;
        if lists > usize::from(!elements.is_empty()) {
            return Err(TensorFault::OtherContents);
        }
        if elements.len() != want {
            let got = elements.len().to_string();
            return Err(TensorFault::Count { shape, want, got });
        }
        return Ok(Data::Samples { shape, elements });
    }
    let element_type = request::element_type(datatype)?;
    let (list, bytes): (usize, Vec<u8>) = match element_type {
        E::Bool => {
            let list = contents.bool_contents;
            (list.len(), list.into_iter().map(u8::from).collect())
        }
        E::U8 => narrow::<_, u8, 1>(&contents.uint_contents, datatype, u8::to_le_bytes)?,
        E::I8 => narrow::<_, i8, 1>(&contents.int_contents, datatype, i8::to_le_bytes)?,
        E::I32 => whole(&contents.int_contents, |x| x.to_le_bytes()),
        E::I64 => whole(&contents.int64_contents, |x| x.to_le_bytes()),
        E::F32 => whole(&contents.fp32_contents, |x| x.to_le_bytes()),
        E::F64 => whole(&contents.fp64_contents, |x| x.to_le_bytes()),
        E::F16 => return Err(TensorFault::HalfContents),
    };
    if lists > usize::from(list > 0) {
        return Err(TensorFault::OtherContents);
    }
    Ok(Data::Elements {
        element_type,
        shape,
        bytes: bytes.into(),
    })
}

/// The number of lists with elements.
fn lists(contents: &InferTensorContents) -> usize {
    let empty = [
        contents.bool_contents.is_empty(),
        contents.int_contents.is_empty(),
        contents.int64_contents.is_empty(),
        contents.uint_contents.is_empty(),
        contents.uint64_contents.is_empty(),
        contents.fp32_contents.is_empty(),
        contents.fp64_contents.is_empty(),
        contents.bytes_contents.is_empty(),
    ];
    empty.into_iter().filter(|empty| !empty).count()
}

fn whole<T: Copy, const N: usize>(list: &[T], bytes: impl Fn(T) -> [u8; N]) -> (usize, Vec<u8>) {
    (list.len(), list.iter().flat_map(|&x| bytes(x)).collect())
}

fn narrow<W: Copy, T: TryFrom<W>, const N: usize>(
    list: &[W],
    datatype: &str,
    bytes: impl Fn(T) -> [u8; N],
) -> Result<(usize, Vec<u8>), TensorFault> {
    let mut all = Vec::with_capacity(list.len());
    for (position, &wide) in list.iter().enumerate() {
        let element = T::try_from(wide).map_err(|_| TensorFault::Element {
            position,
            datatype: datatype::parse(datatype).map_or("", datatype::name),
        })?;
        all.extend(bytes(element));
    }
    Ok((list.len(), all))
}

/// Writes the message of an answer. Elements are raw, and those of tensors are not copied.
fn write(response: InferResponse) -> ModelInferResponse {
    let raw = response.outputs.iter().map(|(_, output)| output.raw());
    let raw_output_contents = raw.collect();
    let size = |&size: &usize| i64::try_from(size).unwrap_or(i64::MAX);
    let outputs = response.outputs.into_iter().map(|(name, output)| {
        let shape = output.shape().iter().map(size).collect();
        InferOutputTensor {
            name,
            datatype: output.datatype().to_owned(),
            shape,
            parameters: HashMap::new(),
            contents: None,
        }
    });
    ModelInferResponse {
        outputs: outputs.collect(),
        raw_output_contents,
        model_name: response.model,
        model_version: response.version,
        id: response.id,
        parameters: HashMap::new(),
    }
}
