//! A small cluster that does what its script says, on simulated machines.

mod groups;

use bytes::{Bytes, BytesMut};
use highwater_env::{Env, Listener, Network};
use highwater_records::{Batch, BatchHeader};
use highwater_sim::{SimEnv, Simulation};
use highwater_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp};
use highwater_types::{TopicId, Uuid};
use highwater_wire::messages::*;
use highwater_wire::{
    ApiKey, ErrorCode, Records, Request, Segment, Str, decode_request_header, encode_response, version_table,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The port of every broker; its host name is `broker-N`.
const PORT: u16 = 9092;

/// What happens to a Produce or Fetch request, instead of what should.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing: it is served.
    Serve,
    /// Every partition is refused.
    Refuse(ErrorCode),
    /// It is served, and the answer is this for every partition.
    ServeAndRefuse(ErrorCode),
    /// The connection ends before it is served.
    Drop,
    /// It is served, and the connection ends instead of the answer.
    ServeAndDrop,
    /// It is not served and not answered.
    Silence,
}

/// One partition, with Kafka's rules for idempotent producers.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub leader: i32,
    pub epoch: i32,
    pub start: i64,
    pub batches: Vec<Batch>,
    producers: BTreeMap<ProducerId, ProducerState>,
}

#[derive(Debug)]
struct ProducerState {
    epoch: ProducerEpoch,
    next_sequence: i32,
    /// First sequence number and offset of the last five batches of the epoch.
    recent: VecDeque<(i32, i64)>,
}

impl Partition {
    pub(crate) fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |batch| batch.header().next_offset().0)
    }

    /// Appends a batch, or says why not.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Result<i64, ErrorCode> {
        let header = batch.header();
        if header.has_producer()
            && let Some(repeated) = self.check_sequence(header)?
        {
            return Ok(repeated);
        }
        let offset = self.end();
        if let Some(state) = self.producers.get_mut(&header.producer_id) {
            state.recent.push_back((header.base_sequence, offset));
            if state.recent.len() > 5 {
                state.recent.pop_front();
            }
        }
        let assigned = batch.assigned(Offset(offset), LeaderEpoch(self.epoch), None);
        self.batches.push(Batch::check(assigned.to_bytes()).expect("no checksum covers what changed"));
        Ok(offset)
    }

    /// The offset of an exact repeat; None for a batch that comes next.
    fn check_sequence(&mut self, header: &BatchHeader) -> Result<Option<i64>, ErrorCode> {
        let (epoch, sequence) = (header.producer_epoch, header.base_sequence);
        if let Some(known) = self.producers.get(&header.producer_id) {
            if epoch < known.epoch {
                return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
            }
            if epoch == known.epoch {
                if let Some((_, offset)) = known.recent.iter().find(|(first, _)| *first == sequence) {
                    return Ok(Some(*offset));
                }
                if sequence != known.next_sequence {
                    return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
                }
            } else if sequence != 0 {
                return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
        }
        // A producer that is not known may start anywhere.
        let next_sequence = (i64::from(header.last_sequence()) + 1) & i64::from(i32::MAX);
        let next_sequence = i32::try_from(next_sequence).expect("masked to 31 bits");
        let fresh = || ProducerState { epoch, next_sequence, recent: VecDeque::new() };
        let state = self.producers.entry(header.producer_id).or_insert_with(fresh);
        if state.epoch != epoch {
            *state = fresh();
        }
        state.next_sequence = next_sequence;
        Ok(None)
    }

    /// The values of all records, in order.
    pub(crate) fn values(&self) -> Vec<Bytes> {
        let records = self.batches.iter().flat_map(|batch| batch.records().expect("batches decompress"));
        records.map(|record| record.expect("records are whole").value.expect("records have values")).collect()
    }
}

/// A topic.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    pub id: TopicId,
    pub partitions: Vec<Partition>,
}

/// What the brokers share.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub topics: BTreeMap<String, Topic>,
    /// One for each Produce request to come.
    pub produce: VecDeque<Fault>,
    /// One for each Fetch request to come.
    pub fetch: VecDeque<Fault>,
    pub produce_requests: usize,
    pub fetch_requests: usize,
    /// The highest version of any API that is served; for an old broker.
    pub newest: BTreeMap<ApiKey, i16>,
    pub connections: usize,
    /// Who makes topics; the others refuse.
    pub controller: i32,
    /// Requests to make a topic, by the brokers that they came to.
    pub creations: Vec<i32>,
    /// Brokers that are cut off from the others, and who led which partition in which epoch when they were.
    cut_off: BTreeMap<i32, BTreeMap<String, Vec<(i32, i32)>>>,
    /// Who is in which group.
    pub groups: groups::Groups,
    brokers: i32,
    producer_ids: i64,
    topics_made: u128,
}

/// A handle on the cluster.
#[derive(Clone)]
pub(crate) struct FakeCluster(Arc<Mutex<State>>);

/// What the cluster does with a request.
enum Outcome {
    Answer(Bytes),
    /// No answer is asked for.
    Nothing,
    Hang,
    Close,
}

impl FakeCluster {
    /// Starts brokers, each on its own simulated machine.
    pub(crate) fn start(simulation: &Simulation, brokers: i32) -> Self {
        let cluster = Self(Arc::default());
        cluster.state().brokers = brokers;
        for broker in 0..brokers {
            let env = simulation.node(&format!("broker-{broker}"));
            env.spawn("fake-broker", cluster.clone().serve(env.clone(), broker)).detach();
        }
        cluster
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the cluster")
    }

    /// Makes a topic whose partitions are led by the brokers in turn.
    pub(crate) fn add_topic(&self, name: &str, partitions: i32) {
        let mut state = self.state();
        state.topics_made += 1;
        let id = TopicId(Uuid::from_random((0x1234_5678 << 64) | state.topics_made));
        let brokers = state.brokers;
        let partitions =
            (0..partitions).map(|index| Partition { leader: index % brokers, ..Partition::default() });
        state.topics.insert(name.to_owned(), Topic { id, partitions: partitions.collect() });
    }

    /// A topic has more partitions from now on.
    pub(crate) fn grow_topic(&self, name: &str, partitions: i32) {
        let mut state = self.state();
        let brokers = state.brokers;
        let topic = state.topics.get_mut(name).expect("it is there");
        let known = i32::try_from(topic.partitions.len()).expect("few partitions");
        topic.partitions.extend(
            (known..partitions).map(|index| Partition { leader: index % brokers, ..Partition::default() }),
        );
    }

    /// Cuts a broker off from the others: it goes on to tell what it knew then, and writes and reads nothing any more.
    pub(crate) fn cut_off(&self, broker: i32) {
        let mut state = self.state();
        let known = state.topics.iter().map(|(name, topic)| {
            let led = topic.partitions.iter().map(|partition| (partition.leader, partition.epoch));
            (name.clone(), led.collect())
        });
        let known = known.collect();
        state.cut_off.insert(broker, known);
    }

    /// Another broker leads a partition, in the next epoch.
    pub(crate) fn elect(&self, topic: &str, partition: usize, leader: i32) {
        let mut state = self.state();
        let partition = &mut state.topics.get_mut(topic).expect("it is there").partitions[partition];
        partition.leader = leader;
        partition.epoch += 1;
    }

    /// The values of a partition's records, as texts.
    pub(crate) fn texts(&self, topic: &str, partition: usize) -> Vec<String> {
        let values = self.state().topics[topic].partitions[partition].values();
        values.into_iter().map(|value| String::from_utf8(value.to_vec()).expect("values are texts")).collect()
    }

    async fn serve(self, env: SimEnv, broker: i32) {
        let address = env.network().resolve("localhost", PORT).await.expect("it is this node")[0];
        let listener = env.network().listen(address).await.expect("the port is free");
        while let Ok((stream, _)) = listener.accept().await {
            self.state().connections += 1;
            env.spawn("fake-connection", self.clone().talk(env.clone(), stream, broker)).detach();
        }
    }

    async fn talk(
        self,
        env: SimEnv,
        mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin + Send,
        broker: i32,
    ) {
        loop {
            let mut prefix = [0; 4];
            if stream.read_exact(&mut prefix).await.is_err() {
                return;
            }
            let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
            if stream.read_exact(&mut frame).await.is_err() {
                return;
            }
            let mut body = Bytes::from(frame);
            let header = decode_request_header(&mut body).expect("clients send good headers");
            let call = (ApiKey(header.api_key), header.api_version, header.correlation_id);
            let outcome = match groups::serve(&self, &env, call, &body).await {
                Some(outcome) => outcome,
                None => self.handle(call, body, broker),
            };
            match outcome {
                Outcome::Answer(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Outcome::Nothing => {}
                Outcome::Hang => std::future::pending().await,
                Outcome::Close => return,
            }
        }
    }

    fn handle(&self, (key, version, id): (ApiKey, i16, i32), frame: Bytes, broker: i32) -> Outcome {
        let mut state = self.state();
        match key {
            ApiKey::API_VERSIONS => state.api_versions(id, version),
            ApiKey::METADATA => {
                let request = decode::<MetadataRequest>(frame, version);
                answer::<MetadataRequest>(id, version, &state.metadata(&request, broker))
            }
            ApiKey::CREATE_TOPICS => {
                let request = decode::<CreateTopicsRequest>(frame, version);
                answer::<CreateTopicsRequest>(id, version, &state.create_topics(&request, broker))
            }
            ApiKey::PRODUCE | ApiKey::FETCH | ApiKey::LIST_OFFSETS if state.cut_off.contains_key(&broker) => {
                Outcome::Hang
            }
            ApiKey::INIT_PRODUCER_ID => {
                state.producer_ids += 1;
                let response = InitProducerIdResponse {
                    producer_id: ProducerId(state.producer_ids),
                    ..InitProducerIdResponse::default()
                };
                answer::<InitProducerIdRequest>(id, version, &response)
            }
            ApiKey::PRODUCE => {
                state.produce_requests += 1;
                let request = decode::<ProduceRequest>(frame, version);
                let fault = state.produce.pop_front().unwrap_or(Fault::Serve);
                state.produce(&request, fault, broker, |response| {
                    answer::<ProduceRequest>(id, version, response)
                })
            }
            ApiKey::FETCH => {
                state.fetch_requests += 1;
                let request = decode::<FetchRequest>(frame, version);
                let fault = state.fetch.pop_front().unwrap_or(Fault::Serve);
                state.fetch(&request, fault, broker, |response| answer::<FetchRequest>(id, version, response))
            }
            ApiKey::LIST_OFFSETS => {
                let request = decode::<ListOffsetsRequest>(frame, version);
                answer::<ListOffsetsRequest>(id, version, &state.list_offsets(&request, broker))
            }
            other => panic!("the fake cluster knows no {other}"),
        }
    }
}

fn decode<R: Request>(frame: Bytes, version: i16) -> R {
    R::decode_body(frame, version).expect("clients send good requests")
}

fn answer<R: Request>(id: i32, version: i16, response: &R::Response) -> Outcome {
    let frame = encode_response(id, R::KEY, version, response).expect("the answer can be written");
    let mut bytes = BytesMut::new();
    for segment in frame.segments {
        match segment {
            Segment::Bytes(part) => bytes.extend_from_slice(&part),
            Segment::External { .. } => panic!("everything is in memory"),
        }
    }
    Outcome::Answer(bytes.freeze())
}

impl State {
    fn newest(&self, key: ApiKey, version: i16) -> i16 {
        self.newest.get(&key).copied().unwrap_or(i16::MAX).min(version)
    }

    fn api_versions(&self, id: i32, version: i16) -> Outcome {
        let api_keys = version_table().iter().map(|served| ApiVersion {
            api_key: served.key.0,
            min_version: served.first,
            max_version: self.newest(served.key, served.last),
        });
        let mut response =
            ApiVersionsResponse { api_keys: api_keys.collect(), ..ApiVersionsResponse::default() };
        if version > self.newest(ApiKey::API_VERSIONS, i16::MAX) {
            response.error_code = ErrorCode::UNSUPPORTED_VERSION;
            return answer::<ApiVersionsRequest>(id, 0, &response);
        }
        answer::<ApiVersionsRequest>(id, version, &response)
    }

    fn create_topics(&mut self, request: &CreateTopicsRequest, broker: i32) -> CreateTopicsResponse {
        self.creations.push(broker);
        let code = if broker == self.controller { ErrorCode::NONE } else { ErrorCode::NOT_CONTROLLER };
        let topics = request.topics.iter().map(|topic| CreatableTopicResult {
            name: topic.name.clone(),
            error_code: code,
            ..CreatableTopicResult::default()
        });
        CreateTopicsResponse { topics: topics.collect(), ..CreateTopicsResponse::default() }
    }

    fn metadata(&self, request: &MetadataRequest, broker: i32) -> MetadataResponse {
        let names: Vec<String> = match &request.topics {
            None => self.topics.keys().cloned().collect(),
            Some(topics) => {
                topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.to_string())).collect()
            }
        };
        let brokers = (0..self.brokers).map(|broker| MetadataResponseBroker {
            node_id: BrokerId(broker),
            host: Str::from(format!("broker-{broker}")),
            port: PORT.into(),
            rack: None,
        });
        let topics = names.into_iter().map(|name| match self.topics.get(&name) {
            None => MetadataResponseTopic {
                error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                name: Some(Str::from(name)),
                ..MetadataResponseTopic::default()
            },
            Some(topic) => MetadataResponseTopic {
                topic_id: topic.id,
                partitions: (0..).zip(self.led(&name, topic, broker)).map(metadata_of_partition).collect(),
                name: Some(Str::from(name)),
                ..MetadataResponseTopic::default()
            },
        });
        MetadataResponse {
            brokers: brokers.collect(),
            controller_id: BrokerId(self.controller),
            topics: topics.collect(),
            ..MetadataResponse::default()
        }
    }

    /// Who leads each partition in which epoch, as far as a broker knows.
    fn led(&self, name: &str, topic: &Topic, broker: i32) -> Vec<(i32, i32)> {
        let known = self.cut_off.get(&broker).and_then(|known| known.get(name)).cloned();
        known.unwrap_or_else(|| topic.partitions.iter().map(|led| (led.leader, led.epoch)).collect())
    }

    fn partition(
        &mut self,
        name: &str,
        id: TopicId,
        index: PartitionIndex,
        broker: i32,
    ) -> Result<&mut Partition, ErrorCode> {
        let topic = if name.is_empty() {
            self.topics.values_mut().find(|topic| topic.id == id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?
        } else {
            self.topics.get_mut(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?
        };
        let place = usize::try_from(index.0).expect("partitions are not negative");
        let partition = topic.partitions.get_mut(place).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if partition.leader == broker { Ok(partition) } else { Err(ErrorCode::NOT_LEADER_OR_FOLLOWER) }
    }

    fn produce(
        &mut self,
        request: &ProduceRequest,
        fault: Fault,
        broker: i32,
        answer: impl FnOnce(&ProduceResponse) -> Outcome,
    ) -> Outcome {
        let mut response = ProduceResponse::default();
        for topic in &request.topic_data {
            let mut partitions = Vec::new();
            for data in &topic.partition_data {
                let Records::Bytes(bytes) = &data.records else { panic!("records are one piece") };
                let batch = Batch::check(bytes.clone()).expect("clients send whole batches");
                let mut result = Err(ErrorCode::NONE);
                if matches!(fault, Fault::Serve | Fault::ServeAndRefuse(_) | Fault::ServeAndDrop) {
                    let partition = self.partition(&topic.name, topic.topic_id, data.index, broker);
                    result = partition.and_then(|partition| partition.apply(&batch));
                }
                if let Fault::Refuse(code) | Fault::ServeAndRefuse(code) = fault {
                    result = Err(code);
                }
                partitions.push(PartitionProduceResponse {
                    index: data.index,
                    error_code: result.err().unwrap_or(ErrorCode::NONE),
                    base_offset: Offset(result.unwrap_or(-1)),
                    ..PartitionProduceResponse::default()
                });
            }
            response.responses.push(TopicProduceResponse {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partition_responses: partitions,
            });
        }
        match fault {
            Fault::Drop | Fault::ServeAndDrop => Outcome::Close,
            Fault::Silence => Outcome::Hang,
            _ if request.acks == 0 => Outcome::Nothing,
            _ => answer(&response),
        }
    }

    fn fetch(
        &mut self,
        request: &FetchRequest,
        fault: Fault,
        broker: i32,
        answer: impl FnOnce(&FetchResponse) -> Outcome,
    ) -> Outcome {
        let mut response = FetchResponse::default();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for wanted in &topic.partitions {
                let mut data = match self.partition(&topic.topic, topic.topic_id, wanted.partition, broker) {
                    Ok(partition) => read(partition, wanted),
                    Err(code) => PartitionData { error_code: code, ..PartitionData::default() },
                };
                if let Fault::Refuse(code) = fault {
                    data = PartitionData { error_code: code, ..PartitionData::default() };
                }
                data.partition_index = wanted.partition;
                partitions.push(data);
            }
            response.responses.push(FetchableTopicResponse {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partitions,
            });
        }
        match fault {
            Fault::Drop | Fault::ServeAndDrop => Outcome::Close,
            Fault::Silence => Outcome::Hang,
            _ => answer(&response),
        }
    }

    fn list_offsets(&mut self, request: &ListOffsetsRequest, broker: i32) -> ListOffsetsResponse {
        let mut response = ListOffsetsResponse::default();
        for topic in &request.topics {
            let partitions = topic.partitions.iter().map(|wanted| {
                let found = self.partition(&topic.name, TopicId::default(), wanted.partition_index, broker);
                let mut answer = ListOffsetsPartitionResponse {
                    partition_index: wanted.partition_index,
                    ..ListOffsetsPartitionResponse::default()
                };
                match found {
                    Err(code) => answer.error_code = code,
                    Ok(partition) => find(partition, wanted.timestamp, &mut answer),
                }
                answer
            });
            let partitions = partitions.collect();
            response.topics.push(ListOffsetsTopicResponse { name: topic.name.clone(), partitions });
        }
        response
    }
}

fn metadata_of_partition((index, (leader, epoch)): (i32, (i32, i32))) -> MetadataResponsePartition {
    MetadataResponsePartition {
        partition_index: PartitionIndex(index),
        leader_id: BrokerId(leader),
        leader_epoch: LeaderEpoch(epoch),
        ..MetadataResponsePartition::default()
    }
}

fn find(partition: &Partition, time: Timestamp, answer: &mut ListOffsetsPartitionResponse) {
    let records = || {
        let batches = partition.batches.iter();
        batches.flat_map(|batch| batch.records().expect("batches decompress")).map(|r| r.expect("whole"))
    };
    match time {
        Timestamp(-1) => answer.offset = Offset(partition.end()),
        Timestamp(-2) => answer.offset = Offset(partition.start),
        time => {
            if let Some(record) = records().find(|record| record.timestamp >= time) {
                (answer.offset, answer.timestamp) = (record.offset, record.timestamp);
            }
        }
    }
}

/// Two batches at most, so that a consumer must come again.
fn read(partition: &Partition, wanted: &FetchPartition) -> PartitionData {
    let mut data = PartitionData { high_watermark: Offset(partition.end()), ..PartitionData::default() };
    let from = wanted.fetch_offset.0;
    if from < partition.start || from > partition.end() {
        data.error_code = ErrorCode::OFFSET_OUT_OF_RANGE;
        return data;
    }
    let batches = partition.batches.iter().filter(|batch| batch.header().last_offset().0 >= from).take(2);
    let bytes: Vec<u8> = batches.flat_map(|batch| batch.bytes().iter().copied()).collect();
    data.records = Records::Bytes(bytes.into());
    data
}
