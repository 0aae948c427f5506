//! The messages. Numbers are never reused.

#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(message, tag = "1")]
    Cluster(Cluster),
    #[prost(message, tag = "2")]
    Broker(Broker),
    #[prost(message, tag = "3")]
    RemoveBroker(RemoveBroker),
    #[prost(message, tag = "4")]
    Topic(Topic),
    #[prost(message, tag = "5")]
    RemoveTopic(RemoveTopic),
    #[prost(message, tag = "6")]
    Partition(Partition),
    #[prost(message, tag = "7")]
    TopicConfig(TopicConfig),
    #[prost(message, tag = "8")]
    BrokerConfig(BrokerConfig),
    #[prost(message, tag = "9")]
    ProducerIds(ProducerIds),
    #[prost(message, tag = "10")]
    Feature(Feature),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Cluster {
    #[prost(bytes = "vec", tag = "1")]
    pub cluster_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub metadata_version: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Endpoint {
    #[prost(string, tag = "1")]
    pub listener: String,
    #[prost(string, tag = "2")]
    pub host: String,
    #[prost(uint32, tag = "3")]
    pub port: u32,
    #[prost(int32, tag = "4")]
    pub security_protocol: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Broker {
    #[prost(int32, tag = "1")]
    pub id: i32,
    #[prost(message, repeated, tag = "2")]
    pub endpoints: Vec<Endpoint>,
    #[prost(string, optional, tag = "3")]
    pub rack: Option<String>,
    #[prost(bool, tag = "4")]
    pub fenced: bool,
    #[prost(int64, optional, tag = "5")]
    pub epoch: Option<i64>,
    #[prost(bytes = "vec", tag = "6")]
    pub incarnation: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    pub disk: Vec<u8>,
    #[prost(bool, tag = "8")]
    pub shutting_down: bool,
    #[prost(bool, tag = "9")]
    pub is_controller: bool,
    #[prost(message, repeated, tag = "10")]
    pub features: Vec<FeatureRange>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct FeatureRange {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub min: u32,
    #[prost(uint32, tag = "3")]
    pub max: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveBroker {
    #[prost(int32, tag = "1")]
    pub id: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Topic {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveTopic {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Partition {
    #[prost(bytes = "vec", tag = "1")]
    pub topic: Vec<u8>,
    #[prost(int32, tag = "2")]
    pub partition: i32,
    #[prost(int32, repeated, tag = "3")]
    pub replicas: Vec<i32>,
    #[prost(int32, repeated, tag = "4")]
    pub isr: Vec<i32>,
    #[prost(int32, optional, tag = "5")]
    pub leader: Option<i32>,
    #[prost(int32, tag = "6")]
    pub leader_epoch: i32,
    #[prost(int32, tag = "7")]
    pub partition_epoch: i32,
    #[prost(int32, repeated, tag = "8")]
    pub elr: Vec<i32>,
    #[prost(int32, repeated, tag = "9")]
    pub last_known_elr: Vec<i32>,
    #[prost(int32, repeated, tag = "10")]
    pub adding: Vec<i32>,
    #[prost(int32, repeated, tag = "11")]
    pub removing: Vec<i32>,
    #[prost(uint64, optional, tag = "12")]
    pub created: Option<u64>,
    #[prost(int32, optional, tag = "13")]
    pub unclean_epoch: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TopicConfig {
    #[prost(bytes = "vec", tag = "1")]
    pub topic: Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, optional, tag = "3")]
    pub value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BrokerConfig {
    #[prost(int32, optional, tag = "1")]
    pub broker: Option<i32>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, optional, tag = "3")]
    pub value: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ProducerIds {
    #[prost(int32, tag = "1")]
    pub broker: i32,
    #[prost(int64, tag = "2")]
    pub next: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Feature {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub level: u32,
}
