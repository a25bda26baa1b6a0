// Package ecs is the source of container tags that asks Amazon ECS: the
// introspection of the ECS agent on an EC2 host, which knows all tasks of the
// host, and the task metadata endpoint version 4, which knows the task that this
// process is a container of and is all there is on Fargate.
//
// Formats:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-introspection.html
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-response.html
//
// Promise: neither service can push, so both are asked every Interval, soon
// after a Want, and at most once per Gap. What has not changed is not told
// again. A container is gone when a service that answers does not list it any
// more; while a service is away nothing is. Requests take a second at most and
// answers have 8 MiB at most.
//
// Where both services tell of a container, the metadata endpoint is believed: it
// knows more.
//
// Concurrency: Run belongs to one goroutine, Want to any.
//
// Kernel needs: none.
package ecs
