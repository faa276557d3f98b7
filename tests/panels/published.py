"""What saved objects of Kibana 8.19 to 9.2 hold, as its exports and its source show them; nothing of it is ours.

A key that Kibana does not know is dropped or refused, and one that it needs and does not find breaks the page without
a word, so both are held to lists: needed keys and those that may stand beside them.
"""

from __future__ import annotations

OBJECT = {"type", "id", "managed", "coreMigrationVersion", "typeMigrationVersion", "attributes", "references"}
REFERENCE = {"type", "id", "name"}
VERSIONS = {"dashboard": {"10.2.0", "10.3.0"}, "index-pattern": {"8.0.0"}}
"""Of each type, those that both 8.19 and 9.2 take."""
CORE_VERSION = "8.8.0"

DATA_VIEW = (
    {"title", "name", "fieldFormatMap"},
    {
        "timeFieldName",
        "allowNoIndex",
        "allowHidden",
        "fields",
        "fieldAttrs",
        "runtimeFieldMap",
        "sourceFilters",
        "typeMeta",
    },
)
DASHBOARD = (
    {
        "title", "description", "panelsJSON", "optionsJSON", "kibanaSavedObjectMeta", "timeRestore",
        "timeFrom", "timeTo", "refreshInterval",
    },
    {"controlGroupInput", "hits", "version"},
)  # fmt: skip
OPTIONS = {"useMargins", "syncColors", "syncCursor", "syncTooltips", "hidePanelTitles"}
PANEL = {"type", "panelIndex", "gridData", "embeddableConfig"}
GRID = {"x", "y", "w", "h", "i"}
EMBEDDED = ({"attributes", "enhancements"}, {"title", "description", "hidePanelTitles", "timeRange"})
LINK = {"type", "id", "order", "label", "destinationRefName", "options"}
LINK_OPTIONS = {"openInNewTab", "useCurrentFilters", "useCurrentDateRange"}

CONTROL_GROUP = {"controlStyle", "chainingSystem", "showApplySelections", "panelsJSON", "ignoreParentSettingsJSON"}
CONTROL = {"type", "order", "width", "grow", "explicitInput"}
CONTROL_INPUT = (
    {"id", "fieldName", "title"},
    {"selectedOptions", "existsSelected", "exclude", "singleSelect", "searchTechnique", "sort", "enhancements"},
)
IGNORED = {"ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations"}

LENS = {"title", "description", "visualizationType", "type", "references", "state"}
STATE = {"visualization", "query", "filters", "datasourceStates", "internalReferences", "adHocDataViews"}
LAYER = {"columns", "columnOrder", "incompleteColumns", "sampling", "ignoreGlobalFilters"}

COMMON = {"label", "customLabel", "dataType", "isBucketed", "operationType", "scale"}
COLUMNS = {
    # operation: (is a bucket, data types, scale, keys beside the common ones, keys of params that are needed)
    "date_histogram": (
        True, {"date"}, "interval", {"sourceField", "params"}, {"interval", "includeEmptyRows", "dropPartials"},
    ),
    "terms": (
        True, {"string", "number"}, "ordinal", {"sourceField", "params"},
        {"size", "orderBy", "orderDirection", "otherBucket", "missingBucket", "parentFormat"},
    ),
    "filters": (True, {"string"}, "ordinal", {"params"}, {"filters"}),
    "count": (False, {"number"}, "ratio", {"sourceField", "params"}, {"emptyAsNull"}),
    "sum": (False, {"number"}, "ratio", {"sourceField", "params"}, {"emptyAsNull"}),
    "unique_count": (False, {"number"}, "ratio", {"sourceField", "params"}, {"emptyAsNull"}),
    "average": (False, {"number"}, "ratio", {"sourceField", "params"}, set()),
    "min": (False, {"number", "date"}, "ratio", {"sourceField", "params"}, set()),
    "max": (False, {"number", "date"}, "ratio", {"sourceField", "params"}, set()),
    "median": (False, {"number"}, "ratio", {"sourceField", "params"}, set()),
    "percentile": (False, {"number"}, "ratio", {"sourceField", "params"}, {"percentile"}),
    "static_value": (False, {"number"}, "ratio", {"params", "references"}, {"value"}),
    "math": (False, {"number"}, "ratio", {"params", "references"}, {"tinymathAst"}),
    "formula": (False, {"number"}, "ratio", {"params", "references"}, {"formula", "isFormulaBroken"}),
}  # fmt: skip
"""Operations of form-based layers that need neither scripts nor a licence nor the analytics module."""
FORMATS = {"number", "percent", "bytes"}
FIELD_FORMATS = {
    "number": {"pattern"},
    "percent": {"pattern"},
    "bytes": {"pattern"},
    "static_lookup": {"lookupEntries"},
}
"""Format of a field of a data view: keys of its params. Numeral formats read a pattern and no decimals."""
INTERVALS = {"auto", "1h", "1d", "1w", "1M"}

PICTURES = {
    # type: keys of the visualization that are needed
    "lnsMetric": {"layerId", "layerType", "metricAccessor"},
    "lnsDatatable": {"layerId", "layerType", "columns"},
    "lnsHeatmap": {"layerId", "layerType", "shape", "xAccessor", "yAccessor", "valueAccessor", "legend", "gridConfig"},
    "lnsXY": {"layers", "legend", "valueLabels", "preferredSeriesType"},
}
SERIES = {
    "line", "area", "area_stacked", "area_percentage_stacked", "bar", "bar_stacked", "bar_percentage_stacked",
    "bar_horizontal", "bar_horizontal_stacked",
}  # fmt: skip
XY_LAYER = (
    {"layerId", "layerType", "accessors", "xAccessor", "seriesType"},
    {"splitAccessor", "position", "palette", "yConfig"},
)
REFERENCE_LAYER = ({"layerId", "layerType", "accessors", "yConfig"}, set())
MATH = {"add", "subtract", "multiply", "divide"}
