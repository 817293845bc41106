"""The Thrift protocol of databricks-sql-connector: sessions, statements, and results as Arrow.

This module knows nothing about SQL. A response is sent when the statement has ended, with its first rows
(`directResults`).
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import TCLIService, ttypes
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from local_warehouse.contract import Session, StatementFailed, Warehouse
from local_warehouse.faults import Faults

PROTOCOL = ttypes.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V7
SUCCESS = ttypes.TStatus(ttypes.TStatusCode.SUCCESS_STATUS)
MOST_ROWS = 100_000


@dataclass
class _Operation:
    """A statement that was executed: its error, or its rows and how many of them have been sent."""

    rows: pa.Table = field(default_factory=lambda: pa.table({}))
    error: StatementFailed | None = None
    sent: int = 0

    def fetch(self, most: int) -> ttypes.TFetchResultsResp:
        """Return a response with the next rows, up to a limit."""
        chunk = self.rows.slice(self.sent, min(most, MOST_ROWS)).combine_chunks()
        batches = [
            ttypes.TSparkArrowBatch(batch=batch.serialize().to_pybytes(), rowCount=batch.num_rows)
            for batch in chunk.to_batches()
        ]
        first, self.sent = self.sent, self.sent + chunk.num_rows
        return ttypes.TFetchResultsResp(
            status=SUCCESS,
            hasMoreRows=self.sent < self.rows.num_rows,
            results=ttypes.TRowSet(startRowOffset=first, rows=[], arrowBatches=batches),
            resultSetMetadata=_metadata(self.rows.schema),
        )

    def status(self) -> ttypes.TGetOperationStatusResp:
        """Return a response with the statement's status."""
        if self.error is None:
            state = ttypes.TOperationState.FINISHED_STATE
            return ttypes.TGetOperationStatusResp(status=SUCCESS, operationState=state, hasResultSet=True)
        return ttypes.TGetOperationStatusResp(
            status=SUCCESS,
            operationState=ttypes.TOperationState.ERROR_STATE,
            sqlState=self.error.sqlstate,
            errorMessage=str(self.error),
            displayMessage=str(self.error),
        )


class ThriftService:
    """The handler of TCLIService.Processor. Its methods are named as in the service."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.faults = Faults()
        self.sessions: dict[bytes, Session] = {}
        self.operations: dict[bytes, _Operation] = {}
        self.processor = TCLIService.Processor(self)
        self._asking = threading.local()  # the processor hands on nothing but the call itself

    def answer(self, request: bytes, user: str) -> tuple[str, bytes]:
        """Return the response to a user's call in Thrift's binary protocol, and the name of the called method."""
        self._asking.user = user
        method, _, _ = TBinaryProtocol(TMemoryBuffer(request)).readMessageBegin()
        answer = TMemoryBuffer()
        self.processor.process(TBinaryProtocol(TMemoryBuffer(request)), TBinaryProtocol(answer))
        return method, answer.getvalue()

    def OpenSession(self, request: ttypes.TOpenSessionReq) -> ttypes.TOpenSessionResp:  # noqa: N802
        namespace = request.initialNamespace or ttypes.TNamespace()
        handle = _handle()
        self.sessions[handle.guid] = self.warehouse.open_session(
            self._asking.user, namespace.catalogName, namespace.schemaName, request.configuration or {}
        )
        return ttypes.TOpenSessionResp(
            status=SUCCESS,
            serverProtocolVersion=PROTOCOL,
            sessionHandle=ttypes.TSessionHandle(sessionId=handle, serverProtocolVersion=PROTOCOL),
            initialNamespace=namespace,
            canUseMultipleCatalogs=True,
        )

    def CloseSession(self, request: ttypes.TCloseSessionReq) -> ttypes.TCloseSessionResp:  # noqa: N802
        session = self.sessions.pop(request.sessionHandle.sessionId.guid, None)
        if session:
            session.close()
        return ttypes.TCloseSessionResp(status=SUCCESS if session else _invalid("SessionHandle"))

    def ExecuteStatement(self, request: ttypes.TExecuteStatementReq) -> ttypes.TExecuteStatementResp:  # noqa: N802
        session = self.sessions.get(request.sessionHandle.sessionId.guid)
        if session is None:
            return ttypes.TExecuteStatementResp(status=_invalid("SessionHandle"))
        operation = self._executed(session, request)
        handle = _handle()
        answer = ttypes.TExecuteStatementResp(
            status=SUCCESS,
            operationHandle=ttypes.TOperationHandle(
                operationId=handle, operationType=ttypes.TOperationType.EXECUTE_STATEMENT, hasResultSet=True
            ),
        )
        direct = request.getDirectResults
        if direct is None:  # execute_async: the client comes back for all of it
            self.operations[handle.guid] = operation
            return answer
        answer.directResults = ttypes.TSparkDirectResults(operationStatus=operation.status())
        if operation.error is None:
            first = operation.fetch(direct.maxRows)
            answer.directResults.resultSetMetadata, answer.directResults.resultSet = first.resultSetMetadata, first
            if first.hasMoreRows:
                self.operations[handle.guid] = operation
                return answer
        answer.directResults.closeOperation = ttypes.TCloseOperationResp(status=SUCCESS)
        return answer

    def FetchResults(self, request: ttypes.TFetchResultsReq) -> ttypes.TFetchResultsResp:  # noqa: N802
        operation = self.operations.get(request.operationHandle.operationId.guid)
        if operation is None:
            return ttypes.TFetchResultsResp(status=_invalid("OperationHandle"))
        return operation.fetch(request.maxRows)

    def GetOperationStatus(self, request: ttypes.TGetOperationStatusReq) -> ttypes.TGetOperationStatusResp:  # noqa: N802
        operation = self.operations.get(request.operationHandle.operationId.guid)
        if operation is None:
            return ttypes.TGetOperationStatusResp(status=_invalid("OperationHandle"))
        return operation.status()

    def GetResultSetMetadata(  # noqa: N802
        self, request: ttypes.TGetResultSetMetadataReq
    ) -> ttypes.TGetResultSetMetadataResp:
        operation = self.operations.get(request.operationHandle.operationId.guid)
        if operation is None:
            return ttypes.TGetResultSetMetadataResp(status=_invalid("OperationHandle"))
        return _metadata(operation.rows.schema)

    def CloseOperation(self, request: ttypes.TCloseOperationReq) -> ttypes.TCloseOperationResp:  # noqa: N802
        self.operations.pop(request.operationHandle.operationId.guid, None)
        return ttypes.TCloseOperationResp(status=SUCCESS)

    def CancelOperation(self, request: ttypes.TCancelOperationReq) -> ttypes.TCancelOperationResp:  # noqa: N802
        self.operations.pop(request.operationHandle.operationId.guid, None)
        return ttypes.TCancelOperationResp(status=SUCCESS)

    def _executed(self, session: Session, request: ttypes.TExecuteStatementReq) -> _Operation:
        try:
            if request.parameters:
                raise StatementFailed("UNSUPPORTED_FEATURE.LOCAL_WAREHOUSE", "no parameters are bound here", "0A000")
            return _Operation(session.execute(request.statement))
        except StatementFailed as error:
            return _Operation(error=error)
        except Exception as error:
            return _Operation(error=StatementFailed("INTERNAL_ERROR", f"{type(error).__name__}: {error}", "XX000"))


def _handle() -> ttypes.THandleIdentifier:
    return ttypes.THandleIdentifier(guid=uuid.uuid4().bytes, secret=uuid.uuid4().bytes)


def _invalid(handle: str) -> ttypes.TStatus:
    message = f"Invalid {handle}: it was closed, or the warehouse has been restarted"
    code = ttypes.TStatusCode.INVALID_HANDLE_STATUS
    return ttypes.TStatus(statusCode=code, errorMessage=message, displayMessage=message, sqlState="HY000")


def _metadata(schema: pa.Schema) -> ttypes.TGetResultSetMetadataResp:
    columns = [
        ttypes.TColumnDesc(
            columnName=column.name,
            typeDesc=ttypes.TTypeDesc(types=[ttypes.TTypeEntry(primitiveEntry=_primitive(column.type))]),
            position=position,
        )
        for position, column in enumerate(schema, start=1)
    ]
    return ttypes.TGetResultSetMetadataResp(
        status=SUCCESS,
        schema=ttypes.TTableSchema(columns=columns),
        resultFormat=ttypes.TSparkRowSetType.ARROW_BASED_SET,
        lz4Compressed=False,
        arrowSchema=schema.serialize().to_pybytes(),
    )


_TYPES: tuple[tuple[Any, int], ...] = (
    (pa.types.is_boolean, ttypes.TTypeId.BOOLEAN_TYPE),
    (pa.types.is_int8, ttypes.TTypeId.TINYINT_TYPE),
    (pa.types.is_int16, ttypes.TTypeId.SMALLINT_TYPE),
    (pa.types.is_int32, ttypes.TTypeId.INT_TYPE),
    (pa.types.is_int64, ttypes.TTypeId.BIGINT_TYPE),
    (pa.types.is_float32, ttypes.TTypeId.FLOAT_TYPE),
    (pa.types.is_float64, ttypes.TTypeId.DOUBLE_TYPE),
    (pa.types.is_timestamp, ttypes.TTypeId.TIMESTAMP_TYPE),
    (pa.types.is_date, ttypes.TTypeId.DATE_TYPE),
    (pa.types.is_binary, ttypes.TTypeId.BINARY_TYPE),
    (pa.types.is_null, ttypes.TTypeId.NULL_TYPE),
    (pa.types.is_map, ttypes.TTypeId.MAP_TYPE),
    (pa.types.is_list, ttypes.TTypeId.ARRAY_TYPE),
    (pa.types.is_struct, ttypes.TTypeId.STRUCT_TYPE),
)


def _primitive(type_: pa.DataType) -> ttypes.TPrimitiveTypeEntry:
    if pa.types.is_decimal(type_):
        qualifiers = {
            "precision": ttypes.TTypeQualifierValue(i32Value=type_.precision),
            "scale": ttypes.TTypeQualifierValue(i32Value=type_.scale),
        }
        return ttypes.TPrimitiveTypeEntry(
            type=ttypes.TTypeId.DECIMAL_TYPE, typeQualifiers=ttypes.TTypeQualifiers(qualifiers=qualifiers)
        )
    known = next((id_ for is_type, id_ in _TYPES if is_type(type_)), ttypes.TTypeId.STRING_TYPE)
    return ttypes.TPrimitiveTypeEntry(type=known)
