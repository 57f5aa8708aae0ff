locals {
  # Whether there is a key is no secret.
  slack     = nonsensitive(var.slack_url != null)
  pagerduty = nonsensitive(var.pagerduty_key != null)
  opsgenie  = nonsensitive(var.opsgenie_key != null)
  notifies  = local.slack || local.pagerduty || local.opsgenie
}

resource "grafana_contact_point" "on_call" {
  count = local.notifies ? 1 : 0
  name  = "Lionpay on call"

  dynamic "slack" {
    for_each = local.slack ? [true] : []
    content {
      url   = var.slack_url
      title = "{{ .CommonLabels.alertname }} {{ .CommonLabels.cluster }}"
      text  = "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ end }}"
    }
  }

  dynamic "pagerduty" {
    for_each = local.pagerduty ? [true] : []
    content {
      integration_key = var.pagerduty_key
      severity        = "{{ .CommonLabels.severity }}"
      summary         = "{{ .CommonLabels.alertname }} {{ .CommonLabels.cluster }}"
    }
  }

  dynamic "opsgenie" {
    for_each = local.opsgenie ? [true] : []
    content {
      api_key    = var.opsgenie_key
      auto_close = true
      message    = "{{ .CommonLabels.alertname }} {{ .CommonLabels.cluster }}"
    }
  }
}

# It overwrites the whole tree of the stack: only for a stack that has no other alerts.
resource "grafana_notification_policy" "all" {
  count           = var.owns_notification_policy && local.notifies ? 1 : 0
  contact_point   = grafana_contact_point.on_call[0].name
  group_by        = ["alertname", "cluster"]
  group_wait      = "30s"
  group_interval  = "5m"
  repeat_interval = "4h"

  policy {
    contact_point   = grafana_contact_point.on_call[0].name
    group_by        = ["alertname", "cluster", "service_name"]
    repeat_interval = "1h"
    matcher {
      label = "severity"
      match = "="
      value = "critical"
    }
  }
}
