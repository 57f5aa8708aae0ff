resource "grafana_folder" "sensor" {
  title = var.folder
}

resource "grafana_dashboard" "sensor" {
  for_each    = fileset("${path.module}/../dashboards", "*.json")
  folder      = grafana_folder.sensor.uid
  config_json = file("${path.module}/../dashboards/${each.value}")
  overwrite   = true
}

# A rule asks for one figure (A) and compares it with one number (B).
resource "grafana_rule_group" "sensor" {
  for_each         = local.groups
  name             = each.key
  folder_uid       = grafana_folder.sensor.uid
  interval_seconds = 60

  dynamic "rule" {
    for_each = each.value
    content {
      name           = rule.key
      condition      = "B"
      for            = rule.value.pending
      no_data_state  = try(rule.value.no_data, "OK")
      exec_err_state = "Error"
      labels         = { severity = rule.value.severity }
      annotations    = { summary = rule.value.summary }

      data {
        ref_id         = "A"
        datasource_uid = var.metrics_uid
        relative_time_range {
          from = 600
          to   = 0
        }
        model = jsonencode({ refId = "A", instant = true, expr = rule.value.expr })
      }

      data {
        ref_id         = "B"
        datasource_uid = "__expr__"
        relative_time_range {
          from = 0
          to   = 0
        }
        model = jsonencode({
          refId      = "B"
          type       = "threshold"
          expression = "A"
          conditions = [{ evaluator = { type = try(rule.value.is, "gt"), params = [rule.value.than] } }]
        })
      }

      dynamic "notification_settings" {
        for_each = local.notifies ? [true] : []
        content {
          contact_point = grafana_contact_point.on_call[0].name
          group_by      = ["alertname", "cluster", "service_name"]
        }
      }
    }
  }
}
