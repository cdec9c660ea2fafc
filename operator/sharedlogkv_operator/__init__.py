"""The operator: turns each `SharedLogKV` resource into a compacted Kafka topic and a Deployment of replicas."""
