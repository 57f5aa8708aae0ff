# The figures, and what they must not pass. `than` is the bound, `is` how a bad figure stands to it (default "gt").
# docs/metrics.md tells the metrics.
locals {
  groups = {
    Services    = local.services
    Connections = local.connections
    Sensors     = merge(local.sensors, local.silence)
  }

  clusters = "cluster=~\"${join("|", var.clusters)}\""
  requests = "http_server_request_duration_seconds"

  # Shares of a service's requests that failed, and that were slow, over several times: how often the objective's budget
  # would be spent. 1 spends it in exactly the objective's own period, a month by habit.
  windows = ["5m", "30m", "1h", "6h"]
  failing = { for window in local.windows : window => <<-PROMQL
    sum by (cluster, service_name) (rate(${local.requests}_count{${local.clusters}, error_type!=""}[${window}]))
    / sum by (cluster, service_name) (rate(${local.requests}_count{${local.clusters}}[${window}]))
    / (1 - ${var.error_objective})
  PROMQL
  }
  slow = { for window in local.windows : window => <<-PROMQL
    (1 - sum by (cluster, service_name) (rate(${local.requests}_bucket{${local.clusters}, le="${var.latency_bound}"}[${window}]))
    / sum by (cluster, service_name) (rate(${local.requests}_count{${local.clusters}}[${window}])))
    / (1 - ${var.latency_objective})
  PROMQL
  }

  services = {
    for name, rule in {
      "Error budget burns fast"     = { of = local.failing, over = "1h", and = "5m", severity = "critical", than = 14.4 }
      "Error budget burns slowly"   = { of = local.failing, over = "6h", and = "30m", severity = "warning", than = 6 }
      "Latency budget burns fast"   = { of = local.slow, over = "1h", and = "5m", severity = "critical", than = 14.4 }
      "Latency budget burns slowly" = { of = local.slow, over = "6h", and = "30m", severity = "warning", than = 6 }
      } : name => {
      pending  = rule.and
      severity = rule.severity
      than     = rule.than
      summary  = "{{ $labels.service_name }} in {{ $labels.cluster }} spends its budget {{ $values.A.Value }} times too fast."
      # The lesser of a long time and a short one: what counts is still going on.
      expr = <<-PROMQL
        min by (cluster, service_name) (
        label_replace(${rule.of[rule.over]}, "over", "${rule.over}", "", "")
        or
        label_replace(${rule.of[rule.and]}, "over", "${rule.and}", "", "")
        )
      PROMQL
    }
  }

  connections = {
    "Connections fail" = {
      pending  = "10m"
      severity = "warning"
      than     = var.connection_failures
      summary  = "{{ $labels.service_name }} in {{ $labels.cluster }} can't connect to what it needs."
      expr     = <<-PROMQL
        sum by (cluster, service_name) (rate(tcp_connections_failed_total{${local.clusters}}[10m]))
        / (
          sum by (cluster, service_name) (rate(tcp_connections_failed_total{${local.clusters}}[10m]))
          + sum by (cluster, service_name) (rate(tcp_connections_opened_total{${local.clusters}}[10m]))
        )
      PROMQL
    }
    "Segments are sent again" = {
      pending  = "10m"
      severity = "warning"
      than     = var.retransmits
      summary  = "The network of {{ $labels.service_name }} in {{ $labels.cluster }} loses segments."
      expr     = <<-PROMQL
        sum by (cluster, service_name) (rate(tcp_retransmits_total{${local.clusters}}[10m]))
        / sum by (cluster, service_name) (rate(tcp_sent_segments_total{${local.clusters}}[10m]))
      PROMQL
    }
    "A listen queue overflows" = {
      pending  = "5m"
      severity = "warning"
      than     = 0
      summary  = "{{ $labels.service_name }} in {{ $labels.cluster }} is too slow to accept connections."
      expr     = <<-PROMQL
        sum by (cluster, service_name) (increase(tcp_listen_overflows_total{${local.clusters}}[10m]))
      PROMQL
    }
  }

  sensors = {
    # kube_node_info is kube-state-metrics'. Where it is not sent, this rule never has data.
    "A node has no sensor" = {
      pending  = "15m"
      severity = "warning"
      than     = 0
      summary  = "Node {{ $labels.node }} of {{ $labels.cluster }} has no sensor that sends."
      expr     = <<-PROMQL
        count by (cluster, node) (kube_node_info{${local.clusters}})
        unless on (cluster, node) sensor_build_info{${local.clusters}}
      PROMQL
    }
    "A sensor loses events" = {
      pending  = "10m"
      severity = "warning"
      than     = var.sensor_loss
      summary  = "The sensor on {{ $labels.node }} in {{ $labels.cluster }} loses events: sensor_lost_total has the causes."
      expr     = <<-PROMQL
        sum by (cluster, node) (rate(sensor_lost_total{${local.clusters}}[10m]))
        / sum by (cluster, node) (rate(sensor_events_total{${local.clusters}}[10m]))
      PROMQL
    }
    "Data is lost on the way" = {
      pending  = "0s"
      severity = "warning"
      than     = 0
      summary  = "{{ $labels.signal }} of {{ $labels.cluster }} will not arrive: {{ $labels.cause }}."
      expr     = <<-PROMQL
        sum by (cluster, signal, receiver, cause) (increase(sensor_ship_lost_total{${local.clusters}}[15m]))
      PROMQL
    }
    "A spool grows" = {
      pending  = "15m"
      severity = "warning"
      than     = var.spool_bytes
      summary  = "The spool of {{ $labels.signal }} on {{ $labels.node }} in {{ $labels.cluster }} will be full in six hours."
      expr     = <<-PROMQL
        max by (cluster, node, signal) (predict_linear(sensor_ship_spool_bytes{${local.clusters}}[1h], 6 * 3600))
      PROMQL
    }
    "The budget of series will not last" = {
      pending  = "1h"
      severity = "warning"
      than     = var.series_budget
      summary  = "{{ $labels.cluster }} will have more active series in a week than planned."
      expr     = <<-PROMQL
        sum by (cluster) (predict_linear(sensor_ship_active_series{${local.clusters}}[6h], 7 * 86400))
      PROMQL
    }
    "A card number came as far as the last gate" = {
      pending  = "0s"
      severity = "critical"
      than     = 0
      summary  = "The sensor on {{ $labels.node }} in {{ $labels.cluster }} masked a card number only at the last moment."
      expr     = <<-PROMQL
        sum by (cluster, node) (increase(sensor_mask_gate_hits_total{${local.clusters}}[10m]))
      PROMQL
    }
  }

  # One rule a cluster: silence has no labels to tell clusters apart by.
  silence = {
    for cluster in var.clusters : "No sensor sends from ${cluster}" => {
      pending  = "10m"
      severity = "critical"
      is       = "lt"
      than     = 1
      no_data  = "Alerting"
      summary  = "Nothing comes from ${cluster}: its sensors, their credentials or the way to the receiver."
      expr     = "count(sensor_build_info{cluster=\"${cluster}\"})"
    }
  }
}
