# The provider takes the address and the token of the stack from GRAFANA_URL and GRAFANA_AUTH.
terraform {
  required_version = ">= 1.5"
  required_providers {
    grafana = {
      source  = "grafana/grafana"
      version = "~> 4.45"
    }
  }
}
