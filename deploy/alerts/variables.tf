variable "metrics_uid" {
  description = "UID of the data source that holds the sensors' metrics."
  type        = string
  default     = "grafanacloud-prom"
}

variable "folder" {
  description = "Title of the folder for dashboards and rules."
  type        = string
  default     = "Lionpay node sensor"
}

variable "clusters" {
  description = "Names of the clusters, as `ship.cluster` of their sensors has them."
  type        = list(string)
  default     = ["admin-seoul", "service-seoul", "service-tokyo"]
}

variable "error_objective" {
  description = "Share of requests of each service that must not fail."
  type        = number
  default     = 0.999
}

variable "latency_objective" {
  description = "Share of requests of each service that must be answered within `latency_bound`."
  type        = number
  default     = 0.99
}

variable "latency_bound" {
  description = "Seconds, as the label `le` of a bucket has them."
  type        = string
  default     = "0.5"
  validation {
    condition = contains(
      ["0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5", "7.5", "10"],
      var.latency_bound
    )
    error_message = "It has to be the bound of a bucket; docs/metrics.md lists them."
  }
}

variable "connection_failures" {
  description = "Share of a service's attempts to connect that may fail."
  type        = number
  default     = 0.05
}

variable "retransmits" {
  description = "Share of a service's segments that may be sent again."
  type        = number
  default     = 0.02
}

variable "sensor_loss" {
  description = "Share of its events that a sensor may lose."
  type        = number
  default     = 0.001
}

variable "spool_bytes" {
  description = "Bytes of a signal's spool, as `ship.spool.max_bytes` has them."
  type        = number
  default     = 536870912
}

variable "series_budget" {
  description = "Active series that a cluster may come to in a week."
  type        = number
  default     = 100000
}

variable "slack_url" {
  description = "Slack's incoming webhook. Null leaves Slack out."
  type        = string
  default     = null
  sensitive   = true
}

variable "pagerduty_key" {
  description = "Integration key of PagerDuty's Events API v2. Null leaves PagerDuty out."
  type        = string
  default     = null
  sensitive   = true
}

variable "opsgenie_key" {
  description = "API key of an OpsGenie integration. Null leaves OpsGenie out."
  type        = string
  default     = null
  sensitive   = true
}

variable "owns_notification_policy" {
  description = "Whether the stack's whole notification policy is replaced. The rules name their contact point without it."
  type        = bool
  default     = false
}
