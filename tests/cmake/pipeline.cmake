# The compiler and the programs it emits, from the command line.
set(pipeline_tests "")
foreach(name same_numbers accumulate early resume bad_input names reports tiles fold endings)
  add_test(NAME pipeline_${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/${name}.sh $<TARGET_FILE:rematc>
           ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/${name})
  set_tests_properties(pipeline_${name} PROPERTIES TIMEOUT ${test_timeout})
  list(APPEND pipeline_tests pipeline_${name})
endforeach()
# Messages and answers in JSON, read by a parser that is not the compiler's.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
add_executable(json_valid support/json_valid.c)
target_link_libraries(json_valid PRIVATE PkgConfig::JANSSON)
add_executable(on_terminal support/on_terminal.c)
foreach(name command_line output answers)
  add_test(NAME pipeline_${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/${name}.sh $<TARGET_FILE:rematc>
           ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/${name} $<TARGET_FILE:json_valid>
           $<TARGET_FILE:on_terminal>)
  set_tests_properties(pipeline_${name} PROPERTIES TIMEOUT ${test_timeout})
  list(APPEND pipeline_tests pipeline_${name})
endforeach()
# Copies to host memory, in plans that are given them.
add_executable(emit_copies support/emit_copies.c support/copies.c ${CMAKE_SOURCE_DIR}/frontend/driver/compile.c
               ${CMAKE_SOURCE_DIR}/frontend/verbs/devices.c ${CMAKE_SOURCE_DIR}/frontend/driver/infeasible.c ${CMAKE_SOURCE_DIR}/frontend/driver/report.c
               ${CMAKE_SOURCE_DIR}/frontend/driver/batch_search.c ${CMAKE_SOURCE_DIR}/frontend/driver/trial_made.c ${CMAKE_SOURCE_DIR}/frontend/driver/options.c)
target_compile_definitions(emit_copies PRIVATE REMAT_VERSION="${PROJECT_VERSION}")
target_include_directories(emit_copies PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(emit_copies PRIVATE remat_frontend remat_codegen remat_planner remat_ir)
add_test(NAME pipeline_copies COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/copies.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/copies $<TARGET_FILE:emit_copies>)
set_tests_properties(pipeline_copies PROPERTIES TIMEOUT ${test_timeout})
list(APPEND pipeline_tests pipeline_copies)
if(REMAT_SANITIZE)
  set_tests_properties(${pipeline_tests} PROPERTIES
    ENVIRONMENT "CFLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all;LDFLAGS=-fsanitize=address,undefined")
endif()
