"""Everything that talks to Kafka: transport, topics, state, the local broker."""
